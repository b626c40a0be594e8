"""A store with runs behind it looks things up as the store of all rows does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.cross_features import NEVER, CountStore, EngagementRows
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.tile_store import TileCountStore
from interactrank.serving.fresh.counts import FreshCounts
from interactrank.serving.fresh.runs import (
    AT_ONCE,
    MOST,
    RATIO,
    SMALL,
    added,
    bytes_of,
    count_run,
    difference,
    due,
    merged,
    removed,
    rows_of_run,
)

KEYS, ITEMS = 6, 5
ROW = st.tuples(st.integers(0, KEYS - 2), st.integers(0, ITEMS - 2), st.integers(0, 9))
ROWS = st.lists(ROW, max_size=12)


def rows(of: list[tuple[int, int, int]]) -> EngagementRows:
    return EngagementRows(*np.array(of, np.int64).reshape(-1, 3).T)


def tiles(folder: Path, of: list[tuple[int, int, int]], tile: int) -> CountStore:
    columns = np.array(sorted(of), np.int64).reshape(-1, 3).T
    by_key = columns[:, np.lexsort((columns[2], columns[0]))][2]
    TileCountStore.build(folder, [tuple(columns)], [by_key], tile)
    return TileCountStore.open(folder)


def every_pair(store: CountStore) -> dict[tuple[int, int], int]:
    """The number of each (key, item) that the store has."""
    keys = np.arange(KEYS)
    of = store.rows(keys)
    which, pairs = store.pairs_of(of)
    assert (np.diff(which) >= 0).all()
    assert all((np.diff(pairs[which == key]) > 0).all() for key in keys)  # none twice, ascending
    return dict(
        zip(zip(which.tolist(), store.items[pairs].tolist(), strict=True), pairs.tolist(), strict=True)
    )


@settings(max_examples=60)
@given(ROWS, st.lists(ROWS, max_size=3))
def test_all_look_ups_are_those_of_one_store(
    base: list[tuple[int, int, int]], later: list[list[tuple[int, int, int]]]
) -> None:
    whole = count_run(rows([*base, *(row for run in later for row in run)]))
    fresh = FreshCounts(count_run(rows(base)), tuple(count_run(rows(run)) for run in later))
    expected, found = every_pair(whole), every_pair(fresh)
    assert found.keys() == expected.keys()
    grid = np.array([(key, item) for key in range(KEYS) for item in range(ITEMS)]).T
    at = fresh.find(fresh.rows(grid[0]), grid[1])
    assert at.tolist() == [found.get((key, item), -1) for key, item in grid.T.tolist()]
    mine, theirs = (np.array([of[pair] for pair in expected], np.int64) for of in (found, expected))
    keys = np.arange(KEYS)
    assert fresh.items_of(keys).tolist() == [item for _, item in found]
    assert set(fresh.rows(np.array([KEYS - 1, -5]))) == {-1}
    assert fresh.num_pairs(fresh.rows(keys)) >= len(expected)
    for before in (0, 4, 5, 99):
        end, of_keys = np.full(len(mine), before), np.full(KEYS, before)
        for name in ("pair_counts", "last_times"):
            assert getattr(fresh, name)(mine, end).tolist() == getattr(whole, name)(theirs, end).tolist()
        totals = fresh.key_counts(fresh.rows(keys), of_keys)
        assert totals.tolist() == whole.key_counts(whole.rows(keys), of_keys).tolist()
    assert fresh.first_times(mine).tolist() == whole.first_times(theirs).tolist()


def test_a_tile_counts_when_it_is_over_also_of_what_was_recorded(tmp_path: Path) -> None:
    later = [(1, 2, 10), (1, 2, 19), (1, 2, 20)]
    fresh = FreshCounts(tiles(tmp_path, [(1, 2, 3)], 10), (count_run(rows(later)),))
    pair = np.repeat(fresh.find(fresh.rows(np.array([1])), np.array([2])), 5)
    key = np.repeat(fresh.rows(np.array([1])), 5)
    ends: Int64s = np.array([9, 10, 19, 20, 30])  # tiles 0..9, 10..19 and 20..29
    assert fresh.pair_counts(pair, ends).tolist() == [0, 1, 1, 3, 4]
    assert fresh.key_counts(key, ends).tolist() == [0, 1, 1, 3, 4]


def test_a_pair_that_was_never_engaged_with_before_has_no_last_time() -> None:
    fresh = FreshCounts(count_run(rows([(1, 2, 7)])), (count_run(rows([(1, 2, 9)])),))
    assert fresh.last_times(np.array([0, 0, 0]), np.array([7, 8, 10])).tolist() == [NEVER, 7, 9]


@given(ROWS, ROWS)
def test_a_difference_counts_repetitions(
    ones: list[tuple[int, int, int]], others: list[tuple[int, int, int]]
) -> None:
    left, missing = list(ones), []
    for row in others:
        if row in left:
            left.remove(row)
        else:
            missing.append(row)
    found = difference(rows(ones), rows(others))
    for of, expected in zip(found, (left, missing), strict=True):
        assert sorted(zip(*(c.tolist() for c in of), strict=True)) == sorted(expected)


@given(st.lists(ROWS, max_size=6), ROWS)
def test_runs_hold_what_was_added_and_not_removed(
    parts: list[list[tuple[int, int, int]]], gone: list[tuple[int, int, int]]
) -> None:
    runs = ()
    for part in parts:
        runs = added(runs, rows(part))
    every = [row for part in parts for row in part]
    for row in gone:
        if row in every:
            every.remove(row)
    runs = removed(runs, rows(gone))
    found = [row for run in runs for row in zip(*(c.tolist() for c in rows_of_run(run)), strict=True)]
    assert sorted(found) == sorted(every)


@pytest.mark.parametrize("block", [1, 100, 3000])
def test_runs_are_few_and_fall_in_size(block: int) -> None:
    random = np.random.default_rng(0)
    runs, total = (), 0
    for _ in range(60):
        runs = added(runs, EngagementRows(*random.integers(0, 1000, (3, block))))
        total += block
        while (n := due([len(run.pair_times) for run in runs])) is not None:  # of large ones
            runs = (*runs[:n], merged(*runs[n : n + 2]), *runs[n + 2 :])
        sizes = [len(run.pair_times) for run in runs]
        assert sum(sizes) == total
        for one, other in pairwise(sizes):
            assert one >= RATIO * max(other, SMALL)
    assert len(runs) <= 4
    assert bytes_of(runs) <= 60 * total + 200


def test_large_runs_are_not_merged_as_rows_come_unless_there_are_very_many() -> None:
    random, runs = np.random.default_rng(0), ()
    for _ in range(MOST + 3):
        runs = added(runs, EngagementRows(*random.integers(0, 10**6, (3, AT_ONCE // 2 + 1))))
    assert len(runs) == MOST
    assert max(len(run.pair_times) for run in runs) > AT_ONCE
    assert due([len(run.pair_times) for run in runs]) is not None
