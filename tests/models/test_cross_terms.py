"""The compiled look-up and score of single requests next to NumPy's look-up and PyTorch's score."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import (
    CountStore,
    CrossFeatures,
    EngagementCountStore,
    EngagementRows,
    Jagged,
    RequestKeys,
)
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank
from interactrank.models.cross_terms import CrossTerms
from interactrank.models.cross_terms.program import _library
from interactrank.serving.fresh.counts import FreshCounts
from interactrank.serving.fresh.runs import count_run
from tests.data import logs
from tests.models import search

pytestmark = pytest.mark.skipif(_library() is None, reason="needs g++")
ITEMS = 72
IQP: list[dict[str, Any]] = [
    {"key": "query"},
    {"key": "query", "window": "1d"},
    {"key": "query", "segment": "country"},
    {"key": "words"},
    {"key": "trigrams", "average": "geometric"},
    {"key": "user"},
    {"key": "all"},
    {"key": "all", "window": "3d"},
    {"key": "all", "segment": "country", "window": "9d"},
    {"key": "query", "statistic": "rate"},
    {"key": "query", "statistic": "rate", "window": "3d"},
    {"key": "all", "statistic": "rate", "of": "categories"},
    {"key": "all", "statistic": "rate", "resolution": "1h"},
    {"key": "all", "statistic": "rate", "resolution": "1h", "window": "2d"},
    {"key": "user", "statistic": "count", "of": "categories"},
    {"key": "query", "statistic": "share", "of": "brand"},
    {"key": "query", "statistic": "count", "resolution": "1d", "window": "8d"},
]
TOUCHES: list[dict[str, Any]] = [
    {"kind": "touch", "statistic": statistic, **more}
    for statistic in ("recency", "order", "count")
    for more in ({}, {"within": "session"}, {"of": "categories"})
]
OTHERS: list[dict[str, Any]] = [
    {"kind": "item_cosine"},
    {"kind": "item_cosine", "items": "same_query"},
    {"kind": "bm25", "columns": ["title"]},
    {"kind": "bm25", "columns": ["title", "brand"], "analyzer": "trigrams"},
]
EVERY = [*({"kind": "iqp", "engagement": "click", **f} for f in IQP), *TOUCHES, *OTHERS]
SPARSE = [f for f in EVERY if f.get("key") != "all" and "of" not in f]


def prepared(folder: Path, features: list[dict[str, Any]]) -> PreparedDataset:
    """A log whose catalogue is larger than its past; items have none, one or several values of a field."""
    events, items, users = logs.random_log(3, requests=60)
    for row in events:
        row.pop("split")
    for n in range(ITEMS - len(items)):
        values = {"categories": [["c0"], ["c1", "c0"], [], ["c7"]][n % 4]}
        items.append({**logs.item(f"new{n}", "red thing"), **values})
    schema = logs.schema(without=("events.split",))
    schema = type(schema).model_validate({**schema.model_dump(), "cross_features": features})
    return logs.prepared(folder, events, items, users, schema=schema, settings={"split": {"test_share": 0.5}})


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared(tmp_path_factory.mktemp("every"), EVERY)


@pytest.fixture(scope="module")
def sparse_log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared(tmp_path_factory.mktemp("sparse"), SPARSE)


def cases(log: PreparedDataset) -> Iterator[tuple[RequestKeys, NDArray[np.int64] | None]]:
    """Requests in an order that is not that of time, and candidates: all, most, few, one and none."""
    random = np.random.default_rng(0)
    some = search.requests(log, "test")
    for n in random.permutation(len(some)):
        keys = some.take(np.array([n])).keys()
        for rows in (None, random.permutation(ITEMS)[:60], random.permutation(ITEMS)[:3]):
            yield keys, rows
    yield keys, np.array([5])
    yield keys, np.empty(0, np.int64)
    nothing = {name: Jagged(np.empty(0, np.int64), np.zeros(1, np.int64)) for name in keys.keys}
    unknown = {name: Jagged(np.array([-7]), np.ones(1, np.int64)) for name in keys.keys}
    for of in (nothing, unknown):
        yield RequestKeys({**keys.keys, **of}, keys.time, keys.sequence_end), None
    yield RequestKeys(keys.keys, keys.time * 0, keys.time * 0), None  # before all events
    yield RequestKeys(keys.keys, keys.time * 2, keys.time * 2), None  # after all windows


def test_numbers_are_those_of_the_look_up(log: PreparedDataset) -> None:
    model = search.model(log)
    terms = CrossTerms.of(model.score_head, log.cross)
    assert terms is not None
    seen: dict[str, set[float]] = {}
    for keys, rows in cases(log):
        candidates = None if rows is None else Jagged(rows, np.array([len(rows)]))
        slow = log.cross.look_up(keys, candidates)
        fast = terms.look_up(keys, rows)
        ratios = slow.counts.shape[1] // 2
        for name, expected in (
            ("rate", slow.rate.T),
            ("number", slow.number.T),
            ("engaged", slow.counts.T[:ratios]),
            ("shown", slow.counts.T[ratios:]),
        ):
            np.testing.assert_allclose(fast[name], expected, rtol=3e-7, err_msg=name)
            for j, column in enumerate(expected):
                seen.setdefault(f"{name} {j}", set()).update(column.tolist())
        np.testing.assert_allclose(fast["support"], slow.support[0], rtol=3e-7)
    assert all(len(values) > 1 for values in seen.values())


@pytest.mark.parametrize("which", ["log", "sparse_log"])
def test_what_was_counted_since_is_added(which: str, request: pytest.FixtureRequest) -> None:
    """Rows of each store in several runs, some of them of pairs that the store has, in its past and after."""
    log = request.getfixturevalue(which)
    model, random = search.model(log), np.random.default_rng(1)
    times = [r["time"] for r in logs.requests(log, "test")]
    runs: dict[str, tuple[EngagementCountStore, ...]] = {}
    for name, store in log.cross.stores.items():
        if not isinstance(store, CountStore):
            continue
        items = int(max(store.items)) + 1
        for size in (40, 15, 3):
            key = random.choice(np.append(store.keys, 0), size)
            item = random.integers(0, items, size)
            time = random.integers(min(times) - 10 * logs.DAY, max(times), size)
            runs[name] = (*runs.get(name, ()), count_run(EngagementRows(key, item, time)))
    stores = {n: FreshCounts(s, runs[n]) if n in runs else s for n, s in log.cross.stores.items()}
    of = log.cross
    cross = CrossFeatures(
        of.features, stores=stores, num_items=ITEMS, fields=of.fields, prior_items=of.prior_items
    )
    base = CrossTerms.of(model.score_head, of)
    assert base is not None
    terms, changed = base.over(runs), 0
    for keys, rows in cases(log):
        candidates = None if rows is None else Jagged(rows, np.array([len(rows)]))
        slow, fast = cross.look_up(keys, candidates), terms.look_up(keys, rows)
        ratios = slow.counts.shape[1] // 2
        found = {"rate": slow.rate.T, "number": slow.number.T, "support": slow.support[0]}
        found |= {"engaged": slow.counts.T[:ratios], "shown": slow.counts.T[ratios:]}
        for name, expected in found.items():
            np.testing.assert_allclose(fast[name], expected, rtol=1e-6, atol=1e-7, err_msg=name)
        changed += not np.array_equal(slow.support, of.look_up(keys, candidates).support)
    assert changed > 10


def dense(
    model: InteractRank, log: PreparedDataset, keys: RequestKeys, rows: NDArray[np.int64] | None
) -> torch.Tensor:
    """[C, H] what PyTorch adds to the dot products."""
    candidates = None if rows is None else Jagged(rows, np.array([len(rows)]))
    found = log.cross.look_up(keys, candidates, only=model.score_head.reads)
    with torch.inference_mode():
        return model.score_head.rest(CrossFeatureTensors(*map(torch.from_numpy, found)))


@pytest.mark.parametrize(
    "changes",
    [
        {"cross_features": {"hidden_dims": [6]}},
        {"cross_features": {"hidden_dims": [5, 4]}, "shared_projection": False},
        {
            "cross_features": {
                "hidden_dims": [],
                "transforms": ["rate", "log_count", "smoothed", "log_smoothed"],
                "priors": {"iqp": 0.05},
            }
        },
    ],
)
@pytest.mark.parametrize("which", ["log", "sparse_log"])
def test_scores_are_those_of_the_head(
    which: str, changes: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    log = request.getfixturevalue(which)
    model = search.model(log, **changes)
    with torch.no_grad():
        for name, buffer in model.score_head.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand_like(buffer))
    terms = CrossTerms.of(model.score_head, log.cross)
    assert terms is not None
    weights = torch.tensor([1.0, -0.5])
    for keys, rows in cases(log):
        dots = torch.randn(ITEMS if rows is None else len(rows))
        expected = dots + dense(model, log, keys, rows) @ weights
        terms.add_to(dots, keys, rows, weights)
        torch.testing.assert_close(dots, expected, rtol=1e-4, atol=1e-4)


def test_threads_may_share_it(log: PreparedDataset) -> None:
    model = search.model(log)
    terms = CrossTerms.of(model.score_head, log.cross)
    assert terms is not None
    every, weights = list(cases(log)), torch.tensor([1.0, 0.5])

    def added(case: tuple[RequestKeys, NDArray[np.int64] | None]) -> torch.Tensor:
        keys, rows = case
        dots = torch.zeros(ITEMS if rows is None else len(rows))
        terms.add_to(dots, keys, rows, weights)
        return dots

    alone = [added(case) for case in every]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(added, every * 4), alone * 4, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_feature_without_such_a_form_and_rows_that_do_not_exist(
    tmp_path: Path, log: PreparedDataset
) -> None:
    with_cosine = prepared(tmp_path, [*SPARSE, {"kind": "query_cosine"}])
    model = search.model(with_cosine)
    assert CrossTerms.of(model.score_head, with_cosine.cross) is None
    terms = CrossTerms.of(search.model(log).score_head, log.cross)
    assert terms is not None
    keys = search.requests(log, "test").take(np.array([0])).keys()
    with pytest.raises(IndexError, match=r"rows lie in 3\.\.72; there are 72 items"):
        terms.add_to(torch.zeros(2), keys, np.array([3, 72]), torch.ones(2))
    with pytest.raises(ValueError, match="2 dot products for 72 candidates"):
        terms.add_to(torch.zeros(2), keys, None, torch.ones(2))
