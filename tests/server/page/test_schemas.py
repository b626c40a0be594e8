"""The page shows models of other schemas: with candidate features, or without sequence, users and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from interactrank.server.page import routes
from interactrank.serving import PreRanker
from tests.server.page.test_routes import REQUEST, SEARCH, column, search
from tests.serving.exported import export
from tests.serving.test_pre_ranker import CANDIDATE_FEATURES

BARE = (
    "schema.sequence=null",
    "schema.exclude_repeats=false",
    "models=[interactrank]",
    "schema.cross_features=[{kind: iqp, key: query, engagement: click}]",
)


def opened(folder: Path, *overrides: str) -> tuple[TestClient, PreRanker]:
    """The page of a model, without a log to show."""
    ranker = PreRanker.open(export(folder, *overrides).artifact)
    return TestClient(Starlette(routes=routes(lambda: {"main": ranker}))), ranker


def test_candidate_features_are_unknown_and_the_page_says_so(tmp_path: Path) -> None:
    client, ranker = opened(tmp_path, CANDIDATE_FEATURES)
    found = column(search(client), "model")
    unknown: dict[str, list[Any]] = {name: [None] * 12 for name in ("place", "side")}
    expected = ranker.rank(REQUEST, np.arange(12), 5, features=unknown)
    assert [r["id"] for r in found["results"]] == expected.ids
    assert "(place, side) is unknown here" in found["note"]
    parts = {p["name"]: p["group"] for p in client.get("/page/about").json()["parts"]}
    assert {parts[n] for n in ("place", "place_centred", "place_rank", "side")} == {"candidate"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    return opened(tmp_path_factory.mktemp("bare"), *BARE)[0]


def test_without_an_index_of_texts_the_column_says_so(bare: TestClient) -> None:
    found = column(search(bare), "bm25")
    assert found["results"] is None
    assert "no cross feature of kind bm25" in found["note"]


def test_without_a_sequence_a_click_that_is_tried_changes_nothing(bare: TestClient) -> None:
    click = {"item": "i4", "engagement": "save", "time": SEARCH["time"] - 1000}
    before, after = search(bare), search(bare, clicks=[click])
    assert (before["sequence"], after["sequence"]) == ([], [])
    assert before["columns"] == after["columns"]
    assert bare.get("/page/about").json()["sequence"] is None


def test_without_what_the_log_shows_items_have_ids_alone(bare: TestClient) -> None:
    about = bare.get("/page/about").json()
    assert (about["suggestions"], about["titles"]) == (False, False)
    assert bare.get("/page/queries").json() == {"suggestions": []}
    assert {(i["title"], str(i["columns"])) for i in search(bare)["items"].values()} == {(None, "{}")}
    fields = {f["name"]: f for f in about["fields"]}
    assert (fields["country"]["kind"], fields["country"]["choices"]) == ("text", [])
