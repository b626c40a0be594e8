"""PreparedDataset: what is and is not a prepared dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from tests.data.logs import event, item, minimal, prepared, random_log, schema

EVENTS = [event("r", "u", q, "a", n, click=1) for n, q in enumerate(["p", "q", " P", "r"])]


@pytest.fixture
def log(tmp_path: Path) -> PreparedDataset:
    split = {"split": {"validation_share": 0, "test_share": 0.25}}
    return prepared(tmp_path, EVENTS, [item("a"), item("b")], schema=minimal(), settings=split)


def test_contents(log: PreparedDataset) -> None:
    assert [log.num_requests(s) for s in ("train", "validation", "test")] == [3, 0, 1]
    assert log.schema == minimal()
    assert sorted(log.train_queries().tolist()) == [1, 2]
    assert log.items.ids == ["a", "b"]
    assert len(log.items) == 2
    assert log.items.dense.shape == (2, 0)
    assert log.layout.table_rows == {"word": 50}
    assert log.vocabulary("word").rows == 50
    assert log.items is log.items  # read once


def test_unknown_and_empty_splits(log: PreparedDataset) -> None:
    for ask in (log.files, log.num_requests):
        with pytest.raises(DatasetError, match="no split 'tset'; allowed: train, validation, test"):
            ask("tset")
    with pytest.raises(DatasetError, match=r"the dataset '.*out' has no validation requests"):
        log.read("validation", ["query"])


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_not_a_prepared_dataset(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(
        DatasetError,
        match=r"is not a prepared dataset \(no readable manifest.json\); run interactrank prepare",
    ):
        PreparedDataset(tmp_path)


def test_another_format(log: PreparedDataset) -> None:
    path = log.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(DatasetError, match=r"has format 2, not 6; prepare the log again"):
        PreparedDataset(log.folder)


@pytest.mark.parametrize("file", ["train/requests-00000.parquet", "items.parquet", "vocabulary/word.parquet"])
def test_a_file_that_was_cut_or_lost(log: PreparedDataset, file: str) -> None:
    path = log.folder / file
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(
        DatasetError,
        match=rf"/out/{file}' has [\d,]+ bytes instead of [\d,]+; prepare the log again",
    ):
        PreparedDataset(log.folder)
    path.unlink()
    with pytest.raises(DatasetError, match=f"/out/{file}' is missing; prepare the log again$"):
        PreparedDataset(log.folder)


def test_files_that_prepare_did_not_write_are_not_read(log: PreparedDataset) -> None:
    (log.folder / "train" / "requests-00001.parquet").write_bytes(log.files("train")[0].read_bytes())
    assert [path.name for path in PreparedDataset(log.folder).files("train")] == ["requests-00000.parquet"]


def test_features_of_some_items(tmp_path: Path) -> None:
    events, some, users = random_log(2)
    items = prepared(tmp_path, events, some, users, schema=schema()).items
    wanted = np.array([3, 0, 3, len(items) - 1])
    for name, jagged in items.features.items():
        each = [x.tolist() for x in np.split(jagged.values, np.cumsum(jagged.lengths)[:-1])]
        taken = items.take(name, wanted)
        assert taken.values.tolist() == [v for i in wanted for v in each[i]]
        assert taken.lengths.tolist() == [len(each[i]) for i in wanted]
        assert items.first(name, wanted).tolist() == [each[i][0] for i in wanted]
