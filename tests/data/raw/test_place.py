"""A log in a remote store, read through Arrow's file systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from interactrank.core.settings import parse_config
from interactrank.data import PreparedDataset, prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.raw.place import Place
from interactrank.data.settings import PrepareSettings
from tests.data.logs import event, item, minimal, requests, write_log

ALL_TRAIN = parse_config(PrepareSettings, {"split": {"validation_share": 0, "test_share": 0}})


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """A store that is not a folder of this machine."""
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/bucket", recursive=True)


def test_a_log_in_a_store(tmp_path: Path, store: fsspec.AbstractFileSystem) -> None:
    rows = [event(f"r{n}", "u", "q", x, n, click=1) for n, x in enumerate("aba")]
    log = write_log(tmp_path / "log", rows, [item("a"), item("b")])
    store.put(str(log / "events.parquet"), "/bucket/a=b/[log]/events/part-0.parquet")
    store.pipe("/bucket/a=b/[log]/events/_SUCCESS", b"")
    store.pipe("/bucket/a=b/[log]/items.csv", b"item_id,title\na,thing\nb,thing\n")
    far = prepare_log("memory://bucket/a=b/[log]", tmp_path / "far", minimal(), ALL_TRAIN)
    near = prepare_log(log, tmp_path / "near", minimal(), ALL_TRAIN)
    assert (far["events"], far["requests"]) == (near["events"], near["requests"])
    assert requests(PreparedDataset(tmp_path / "far")) == requests(PreparedDataset(tmp_path / "near"))


def test_a_file_uri(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    found = prepare_log(log.as_uri(), tmp_path / "out", minimal(), ALL_TRAIN)
    assert found["fingerprint"] == prepare_log(log, tmp_path / "again", minimal(), ALL_TRAIN)["fingerprint"]


def test_what_is_not_there(store: fsspec.AbstractFileSystem) -> None:
    store.pipe("/bucket/x", b"")
    with pytest.raises(DatasetError, match=r"no folder 'memory://bucket/nothing'"):
        prepare_log("memory://bucket/nothing", Path("unused"), minimal(), ALL_TRAIN)
    with pytest.raises(DatasetError, match=r"'nowhere://x'.*reads file, s3, gs and hdfs"):
        Place.of("nowhere://x")
