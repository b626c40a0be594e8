"""New and changed items: as if they had been in the catalogue when it was exported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from interactrank.serving import ArtifactError, PreRanker, Version, refresh_items
from interactrank.serving.artifact import current_name
from interactrank.serving.item_vectors import Precision
from tests.data import logs
from tests.serving.exported import Exported, export_again

REQUEST = {"query": "red shoe", "user_id": "u1", "hour": 1.0, "query_vector": [1.0, 2.0], "timestamp": None}


def items_file(folder: Path, *items: dict[str, Any]) -> Path:
    pq.write_table(logs.table(list(items)), folder / "items.parquet")
    return folder / "items.parquet"


@pytest.fixture(params=["float32", "int8"])
def copy(made: Exported, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    precision: Precision = request.param
    export_again(made, tmp_path / "copy", precision=precision)
    return tmp_path / "copy"


def test_new_items_are_ranked_and_old_ones_as_before(made: Exported, copy: Path, tmp_path: Path) -> None:
    before = PreRanker.open(copy)
    old = dict(zip(*(lambda r: (r.ids, r.scores))(before.rank(REQUEST)), strict=True))
    twin = logs.item("twin", "red shoe", price=3.0, categories=["c0"])
    stranger = logs.item("stranger", "\u96ea", price=None, categories=["never seen"])
    changed = logs.item("i5", "blue hat", price=5.0, categories=["c1", "new one"])
    version = refresh_items(copy, items_file(tmp_path, twin, changed, stranger))
    after = PreRanker.open(copy)
    assert current_name(copy) == version.name == after.version.name
    assert version.facts["refreshed"] == {"from": before.version.name, "new": 2, "changed": 1}
    assert after.ids.of(np.arange(14))[12:] == ["twin", "stranger"]
    found = after.rank(REQUEST)
    now = dict(zip(found.ids, found.scores, strict=True))
    assert set(now) == {*old, "twin", "stranger"}
    assert now["i5"] != old["i5"]
    for name, score in old.items():
        if name != "i5":
            assert now[name] == pytest.approx(score, rel=1e-5, abs=1e-5)
    where = after.filters.mask(where={"categories": ["c0"]})
    assert set(after.rank(REQUEST, where=where).ids) == {"i0", "i3", "i6", "i9", "twin"}
    assert after.filters.mask(where={"categories": ["c2"]}).tolist()[5] is False  # it was c2 before


def test_vectors_are_those_of_a_full_export(made: Exported, copy: Path, tmp_path: Path) -> None:
    source = pq.read_table(made.folder / "log" / "items.parquet").to_pylist()
    same = [row for row in source if row["item_id"] in ("i2", "i7")]
    expected = PreRanker.open(copy).vectors
    refresh_items(copy, items_file(tmp_path, *same))
    found = PreRanker.open(copy).vectors
    step = 1 if found.scales is not None else 1e-6
    old, new = (v.values.astype(np.float32) for v in (expected, found))
    np.testing.assert_allclose(new, old, atol=step)


def test_files_that_do_not_change_are_shared(copy: Path, tmp_path: Path) -> None:
    before = Version.current(copy)
    version = refresh_items(copy, items_file(tmp_path, logs.item("new")))
    name = "model.safetensors"
    assert (version.folder / name).stat().st_ino == (before.folder / name).stat().st_ino
    assert version.manifest.damage(version.folder, checksums=True) is None
    assert before.manifest.damage(before.folder, checksums=True) is None
    shutil.rmtree(before.folder)
    assert len(PreRanker.open(copy).rank(REQUEST)) == 13


def test_the_same_file_again_changes_nothing(copy: Path, tmp_path: Path) -> None:
    file = items_file(tmp_path, logs.item("new"))
    refresh_items(copy, file)
    again = refresh_items(copy, file)
    assert again.facts["items"] == 13
    assert again.facts["refreshed"]["new"] == 0


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "has no items|no column"),
        ([{"item_id": "a", "title": "x"}], "has no column 'categories', which the model's items have"),
        ([logs.item("a"), logs.item("a")], "has the item 'a' twice; keep one row for each"),
        ([logs.item("a") | {"item_id": None}], "has an item without 'item_id'"),
        ([logs.item("a") | {"image": [1.0]}], "has vectors of 1 numbers, the schema says dim: 2"),
    ],
)
def test_a_file_that_cannot_be_used(
    made: Exported, tmp_path: Path, items: list[dict[str, Any]], message: str
) -> None:
    artifact = tmp_path / "copy"
    shutil.copytree(made.artifact, artifact)
    served = current_name(artifact)
    with pytest.raises(ValueError, match=message):
        refresh_items(artifact, items_file(tmp_path, *items))
    assert current_name(artifact) == served
    assert len(list((artifact / "versions").iterdir())) == 1


def test_not_a_parquet_file(made: Exported, tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_text("no")
    with pytest.raises(ArtifactError, match="is not a readable Parquet file of items"):
        refresh_items(made.artifact, tmp_path / "items.parquet")
