"""EngagementCountStore against a list of events, however the sorted stream is cut into blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactrank.cross_features.count_store import EngagementCountStore

events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-5, 10)), max_size=25)


def columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(rows, np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


@given(events, st.lists(st.integers(0, 25), max_size=4), st.integers(-6, 12))
def test_counts_are_those_of_a_loop(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], cuts: list[int], before: int
) -> None:
    key, item, time = columns(sorted(rows))
    by_key = columns(sorted((k, 0, t) for k, _, t in rows))[2]
    cuts = sorted(cuts)
    blocks = list(
        zip(np.split(key, cuts), np.split(item, cuts), np.split(time, cuts), strict=True)
    )  # some are empty; keys and pairs go on in the next one
    folder = tmp_path_factory.mktemp("store")
    EngagementCountStore.build(folder, blocks, np.split(by_key, cuts))
    store = EngagementCountStore.open(folder)
    asked = [(k, i) for k in range(-1, 5) for i in range(5)]
    at = store.rows(np.array([k for k, _ in asked]))
    moment = np.full(len(asked), before)
    assert store.key_counts(at, moment).tolist() == [
        sum(k == key and t < before for k, _, t in rows) for key, _ in asked
    ]
    pairs = store.find(at, np.array([i for _, i in asked]))
    hit = pairs >= 0
    assert hit.tolist() == [any((k, i) == a for k, i, _ in rows) for a in asked]
    assert store.pair_counts(pairs[hit], moment[hit]).tolist() == [
        sum((k, i) == a and t < before for k, i, t in rows) for a, h in zip(asked, hit, strict=True) if h
    ]


def test_an_event_at_the_moment_itself_does_not_count(tmp_path: Path) -> None:
    store = EngagementCountStore.from_events(tmp_path, *columns([(7, 1, 10)]))
    row, pair = store.rows(np.array([7, 7])), store.find(np.array([0, 0]), np.array([1, 1]))
    assert store.key_counts(row, np.array([10, 11])).tolist() == [0, 1]
    assert store.pair_counts(pair, np.array([10, 11])).tolist() == [0, 1]


@pytest.mark.parametrize("blocks", [[], [columns([])]])
def test_an_empty_store(tmp_path: Path, blocks: list[tuple[np.ndarray, ...]]) -> None:
    EngagementCountStore.build(tmp_path, blocks, [])  # type: ignore[arg-type]
    store = EngagementCountStore.open(tmp_path)
    rows = store.rows(np.array([0, 5]))
    assert rows.tolist() == [-1, -1]
    assert store.key_counts(rows, np.array([9, 9])).tolist() == [0, 0]
    assert store.find(rows, np.array([0, 1])).tolist() == [-1, -1]
    assert [a.tolist() for a in store.pairs_of(rows)] == [[], []]
    assert store.num_pairs(rows) == 0


def test_two_streams_of_different_events_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a store of 2 engagements has 1 times"):
        EngagementCountStore.build(tmp_path, [columns([(1, 1, 1), (1, 2, 3)])], [np.array([1])])
