"""Items of which nothing is known all have one and the same number, for every feature and request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactrank.cross_features import Jagged, RequestKeys
from interactrank.data.prepared.dataset import PreparedDataset
from tests.data import logs
from tests.models import search

TOUCHES: list[dict[str, Any]] = [
    {"kind": "touch", "statistic": statistic, "within": within}
    for statistic in ("recency", "order", "count")
    for within in ("user", "session")
]
MORE = ", ".join(str(t) for t in [*logs.SCHEMA["cross_features"], *TOUCHES]).replace("'", '"')


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """A log whose catalogue is far larger than its past."""
    folder: Path = tmp_path_factory.mktemp("log")
    events, items, users = logs.random_log(3, requests=60)
    for row in events:
        row.pop("split")
    items = [*items, *(logs.item(f"new{n}", "green thing", categories=["c9"]) for n in range(60))]
    schema = logs.schema(f"cross_features=[{MORE}]", without=("events.split",))
    settings = {"split": {"test_share": 0.4}}
    return logs.prepared(folder, events, items, users, schema=schema, settings=settings)


def one_by_one(log: PreparedDataset) -> list[RequestKeys]:
    """The keys of each test request."""
    some = search.requests(log, "test")
    return [some.take(np.array([n])).keys() for n in range(len(some))]


def test_items_of_which_nothing_is_known_are_alike(log: PreparedDataset) -> None:
    sparse = []
    for keys in one_by_one(log):
        for feature in log.cross.features:
            known = feature.known_items(keys, log.cross._store_of(feature))
            if known is None:
                continue
            sparse.append(feature.name)
            found = log.cross.find_one(feature.name, keys)
            others = np.setdiff1d(np.arange(len(log.items)), known)
            assert len(others) >= 60
            assert len(np.unique(found.values[others])) == 1, feature.name  # NaN counts as one
            if found.support is not None and len(found.support) > 1:
                assert len(np.unique(found.support[others])) == 1, feature.name
    kinds = {f.settings.kind for f in log.cross.features if f.name in sparse}
    assert kinds == {"iqp", "touch", "item_cosine", "bm25"}


def test_all_features_together(log: PreparedDataset) -> None:
    only = [f.name for f in log.cross.features if f.settings.kind in ("touch", "bm25", "item_cosine")]
    sizes = set()
    for keys in one_by_one(log):
        known = log.cross.known_items(keys, only)
        assert known is not None
        known = np.unique(known)
        sizes.add(len(known))
        whole = log.cross.look_up(keys, None, only=only)
        for columns in (whole.rate, whole.number, whole.counts):
            others = np.delete(columns, known, axis=0)
            np.testing.assert_array_equal(others, np.broadcast_to(others[:1], others.shape))
    assert len(sizes) > 1
    assert max(sizes) <= 12
    assert log.cross.known_items(one_by_one(log)[0], ["all_click"]) is None  # popularity is known of all


def test_nothing_is_asked_for(log: PreparedDataset) -> None:
    keys = one_by_one(log)[0]
    assert log.cross.known_items(keys, []) is not None
    assert len(log.cross.known_items(keys, [])) == 0
    assert log.cross.look_up(keys, Jagged(np.array([1]), np.array([1])), only=[]).rate.any() == np.False_
