"""The compiled searches next to the same in NumPy: what is empty, unknown, early, late and simultaneous."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from interactrank.cross_features import EngagementCountStore, Jagged, candidate_index, count_store, pair_index
from interactrank.cross_features import searches as module
from interactrank.cross_features import tile_store as tiles
from interactrank.cross_features.candidate_index import CandidateIndex, locate
from interactrank.cross_features.searches import searches
from interactrank.cross_features.tile_store import TileCountStore

pytestmark = pytest.mark.skipif(searches() is None, reason="needs g++")
KEYS, ITEMS, EVENTS = 12, 40, 900
Store = EngagementCountStore | TileCountStore
Both = Callable[[Callable[[], Any]], tuple[Any, Any]]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Both:
    """Calls a function with the compiled searches and without."""

    def run(call: Callable[[], Any]) -> tuple[Any, Any]:
        compiled = call()
        with monkeypatch.context() as patch:
            for user in (candidate_index, count_store, pair_index, tiles):
                patch.setattr(user, "searches", lambda: None)
            return compiled, call()

    return run


@pytest.fixture(params=["exact", "tiles"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Times come several times: negative, equal within a pair, equal over pairs."""
    random = np.random.default_rng(5)
    key = random.integers(0, KEYS, EVENTS) * 3
    item, time = random.integers(0, ITEMS, EVENTS), random.integers(-20, 100, EVENTS)
    if request.param == "exact":
        return EngagementCountStore.from_events(tmp_path, key, item, time)
    order, by_key = np.lexsort((time, item, key)), np.lexsort((time, key))
    rows = key[order], item[order], time[order]
    TileCountStore.build(tmp_path, [rows], [time[by_key]], tile_ms=7)
    opened: TileCountStore = TileCountStore.open(tmp_path)
    return opened


def test_keys_pairs_and_counts(store: Store, both: Both) -> None:
    random = np.random.default_rng(6)
    keys = np.append(random.integers(-3, 3 * KEYS + 3, 400), [10**15, -(10**15)])
    rows = store.rows(keys)
    assert (rows == -1).any()
    item = random.integers(-1, ITEMS + 1, len(rows))
    before = random.integers(-40, 120, len(rows))
    compiled, slow = both(lambda: store.find(rows, item))
    np.testing.assert_array_equal(compiled, slow)
    np.testing.assert_array_equal(store.find(rows, item.astype(np.int32)), slow)
    assert (slow >= 0).sum() > 50
    np.testing.assert_array_equal(*both(lambda: store.key_counts(rows, before)))
    hit = slow >= 0
    compiled, slow = both(lambda: store.pair_counts(slow[hit], before[hit]))
    np.testing.assert_array_equal(compiled, slow)
    assert slow.min() == 0 < slow.max()


@pytest.mark.parametrize("slots", [1 << 24, 0])
def test_pairs_that_candidates_meet(
    store: Store, both: Both, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By going through the pairs of a key, and by searching for the candidates: requests without either."""
    monkeypatch.setattr(candidate_index, "MAX_DENSE_SLOTS", slots)
    random = np.random.default_rng(7)
    for _ in range(20):
        lengths = random.integers(0, 9, 6)
        items = [random.choice(ITEMS, n, replace=False) for n in lengths]
        candidates = Jagged(np.concatenate(items).astype(np.int32), lengths)
        key_lengths = random.integers(0, 4, 6)
        rows = store.rows(random.integers(-2, 3 * KEYS + 2, key_lengths.sum()))

        def found(
            rows: NDArray[Any] = rows, lengths: NDArray[Any] = key_lengths, candidates: Jagged = candidates
        ) -> candidate_index.Located:
            return locate(store, rows, lengths, CandidateIndex(candidates, 6, ITEMS))

        for compiled, slow in zip(*both(found), strict=True):
            np.testing.assert_array_equal(compiled, slow)


def test_an_empty_store_has_nothing(tmp_path: Path, both: Both) -> None:
    none = np.empty(0, np.int64)
    empty = EngagementCountStore.from_events(tmp_path, none, none, none)
    rows = empty.rows(np.array([1, 2]))
    for compiled, slow in (
        both(lambda: empty.find(rows, np.array([0, 1]))),
        both(lambda: empty.key_counts(rows, np.array([0, 1]))),
        both(lambda: empty.pair_counts(none, none)),
    ):
        np.testing.assert_array_equal(compiled, slow)


def test_without_a_compiler_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_compiled", lambda source: None)
    module.searches.cache_clear()
    assert module.searches() is None
    module.searches.cache_clear()
