"""Items that are sent are embedded and ranked at once, as a full export would have them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from interactrank.server.app import make_app
from interactrank.server.items import item_table, remove_superseded
from interactrank.serving import PreRanker, refresh_items
from interactrank.serving.artifact import current_name
from tests.server.conftest import HERE, settings_of
from tests.serving.exported import Exported

REQUEST = {"query": "red", "hour": None, "query_vector": None}
ITEM = {
    "item_id": "new",
    "categories": ["c1"],
    "title": "red shoes",
    "price": 3.5,
    "image": [0.5, 0.25],
    "brand": "acme",
}


@pytest.fixture
def artifact(made: Exported, tmp_path: Path) -> Path:
    shutil.copytree(made.artifact, tmp_path / "artifact")
    return tmp_path / "artifact"


def test_an_item_is_ranked_when_the_answer_comes(artifact: Path) -> None:
    with TestClient(make_app(settings_of(artifact)), base_url=HERE) as client:
        before = client.post("/rank", json={"request": REQUEST, "k": 20}).json()
        done = client.post("/items", json={"items": [ITEM, ITEM | {"item_id": "i3", "price": None}]})
        assert done.status_code == 200, done.text
        after = client.post("/rank", json={"request": REQUEST, "k": 20}).json()
    found = done.json()["models"]["main"]
    assert (found["new"], found["changed"]) == (1, 1)
    assert after["version"] == found["version"] != before["version"]
    assert set(after["ids"]) == {*before["ids"], "new"}
    scores = [dict(zip(of["ids"], of["scores"], strict=True)) for of in (before, after)]
    for item in set(before["ids"]) - {"i3"}:
        assert scores[0][item] == pytest.approx(scores[1][item], abs=1e-5)


def test_an_item_has_the_vector_of_refresh(made: Exported, artifact: Path, tmp_path: Path) -> None:
    with TestClient(make_app(settings_of(artifact)), base_url=HERE) as client:
        assert client.post("/items", json={"items": [ITEM]}).status_code == 200
    shutil.copytree(made.artifact, tmp_path / "offline")
    offline = PreRanker(refresh_items(tmp_path / "offline", written(tmp_path, made)))
    online = PreRanker.open(artifact)
    row = online.ids.rows(["new"])
    assert np.array_equal(
        online.vectors.as_float32(row), offline.vectors.as_float32(offline.ids.rows(["new"]))
    )
    assert online.filters.mask(where={"categories": ["c1"]})[row[0]]


def written(folder: Path, made: Exported) -> Path:
    pq.write_table(item_table(made.log.schema, [ITEM]), folder / "items.parquet")
    return folder / "items.parquet"


@pytest.mark.parametrize(
    ("items", "field", "message"),
    [
        ([], "items", "at least 1"),
        ([ITEM] * 2, "items.1.item_id", "'new' is there twice"),
        ([{k: v for k, v in ITEM.items() if k != "price"}], "items.0.price", "required, but missing"),
        ([ITEM | {"price": "cheap"}], "items.0.price", "number"),
        ([ITEM | {"image": [1.0]}], "items.0.image", "at least 2"),
        ([ITEM | {"item_id": ""}], "items.0.item_id", "at least 1"),
        ([ITEM | {"colour": "red"}], "items.0.colour", "unknown key"),
    ],
)
def test_wrong_items_are_refused(client: TestClient, items: list[Any], field: str, message: str) -> None:
    found = client.post("/items", json={"items": items})
    assert found.status_code == 422, found.text
    assert found.json()["error"]["field"] == field
    assert message in found.json()["error"]["message"]


def test_versions_of_added_items_do_not_pile_up(made: Exported, artifact: Path, tmp_path: Path) -> None:
    names = [current_name(artifact)]
    for n in range(6):
        table = item_table(made.log.schema, [ITEM | {"item_id": f"new{n}"}])
        pq.write_table(table, tmp_path / "items.parquet")
        names.append(refresh_items(artifact, tmp_path / "items.parquet").name)
        folder = artifact / "versions" / str(names[-1])
        os.utime(folder, (time.time() - 1000 + n,) * 2)
    remove_superseded(artifact)
    kept = {folder.name for folder in (artifact / "versions").iterdir()}
    assert kept == {names[0], *names[-3:]}
    assert len(PreRanker.open(artifact).ids) == 12 + 6
