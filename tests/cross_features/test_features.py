"""Rates and cosines against dictionaries, by each of the ways to look them up."""

from __future__ import annotations

from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.cross_features import (
    CrossArrays,
    CrossFeatures,
    EngagementCountStore,
    EngagementRate,
    EngagementRateSettings,
    ItemCosine,
    ItemCosineSettings,
    Jagged,
    RequestKeys,
    candidate_index,
    features_of,
)
from interactrank.schema import SearchSchema

N = 6  # items
HOUR = 3_600_000
SCHEMA = SearchSchema.model_validate(
    {
        "events": {"item": "i", "query": "q", "time": "t", "user": "u", "engagements": {"click": "c"}},
        "items": {"id": "i"},
        "features": {"item": [{"name": "price", "kind": "number", "column": "price"}]},
        "tables": {},
        "heads": [{"name": "click", "engagements": ["click"]}],
        "cross_features": [
            {"kind": "iqp", "key": "words", "engagement": "click"},
            {"kind": "iqp", "key": "words", "engagement": "click", "window": "3h"},
            {"kind": "iqp", "key": "words", "engagement": "click", "average": "geometric"},
            {"kind": "iqp", "key": "words", "engagement": "click", "window": "3h", "average": "geometric"},
            {"kind": "iqp", "key": "user", "engagement": "click", "window": "3h"},
        ],
    }
)
WORDS, USER = "iqp-words-click", "iqp-user-click"
WORD_KEYS, USER_KEYS = "iqp-words", "iqp-user"

Event = tuple[int, int, int]  # key, item, hour


def history(folder: Path, words: list[Event], users: list[Event]) -> CrossFeatures:
    stores = {}
    for space, events in ((WORDS, words), (USER, users)):
        table = np.array(events, np.int64).reshape(-1, 3)
        stores[space] = EngagementCountStore.from_events(
            folder / space, table[:, 0], table[:, 1], table[:, 2] * HOUR
        )
    return CrossFeatures(features_of(SCHEMA), stores=stores, num_items=N)


def jagged(rows: list[list[int]]) -> Jagged:
    return Jagged(
        np.array([v for r in rows for v in r], np.int64), np.array([len(r) for r in rows], np.int64)
    )


def reference(
    feature: EngagementRateSettings, events: list[Event], keys: list[int], item: int, end: int
) -> tuple[float, float]:
    """(rate, support) by the formula in EngagementRateSettings' docstring."""
    start = -(10**9) if feature.window_ms is None else end - feature.window_ms // HOUR

    def count(key: int, of: int | None = None) -> int:
        return sum(k == key and of in (None, i) and start <= t < end for k, i, t in events)

    totals = {k: count(k) for k in keys}
    seen = [k for k in keys if totals[k] > 0]
    if not seen:
        return 0.0, 0.0
    support = sum(totals[k] for k in seen) / len(seen)
    if feature.average == "arithmetic":
        return sum(count(k, item) / totals[k] for k in seen) / len(seen), support
    logs = [log((count(k, item) + 1 / N) / (totals[k] + 1)) for k in keys]
    return exp(sum(logs) / len(logs)), support


events = st.lists(st.tuples(st.integers(0, 4), st.integers(0, N - 1), st.integers(0, 9)), max_size=30)
requests = st.lists(
    st.tuples(
        st.lists(st.integers(0, 6), max_size=4, unique=True),  # words; 5 and 6 have no history
        st.integers(0, 5),  # user
        st.integers(0, 10),  # time
        st.integers(0, 10),  # history_end, cut to time
        st.lists(st.integers(0, N - 1), max_size=4, unique=True),  # candidates
    ),
    min_size=1,
    max_size=4,
)


@given(words=events, users=events, asked=requests, ways=st.sampled_from(["filter", "search", "own choice"]))
@settings(max_examples=120, deadline=None)
def test_rates_are_those_of_a_loop(
    tmp_path_factory: pytest.TempPathFactory,
    words: list[Event],
    users: list[Event],
    asked: list[tuple[list[int], int, int, int, list[int]]],
    ways: str,
) -> None:
    cross = history(tmp_path_factory.mktemp("history"), words, users)
    keys = RequestKeys(
        {WORD_KEYS: jagged([a[0] for a in asked]), USER_KEYS: jagged([[a[1]] for a in asked])},
        time=np.array([a[2] * HOUR for a in asked]),
        sequence_end=np.array([min(a[2], a[3]) * HOUR for a in asked]),
    )
    candidates = jagged([a[4] for a in asked])
    with pytest.MonkeyPatch.context() as patch:
        if ways == "filter":
            patch.setattr(candidate_index, "_cheaper_to_filter", lambda *_: True)
        elif ways == "search":
            patch.setattr(candidate_index, "_cheaper_to_filter", lambda *_: False)
        rate, support, *_ = cross.look_up(keys, candidates)
        whole, whole_support, *_ = cross.look_up(keys)
    assert rate.shape == (len(candidates.values), len(SCHEMA.cross_features))
    assert whole.shape == (len(asked) * N, len(SCHEMA.cross_features))
    assert np.array_equal(support, whole_support)
    row = 0
    for r, (key_words, user, time, end, items) in enumerate(asked):
        for j, feature in enumerate(SCHEMA.cross_features):
            of_user = feature.key == "user"
            args = (users, [user]) if of_user else (words, key_words)
            expected = [
                reference(feature, *args, item, min(time, end) if of_user else time) for item in range(N)
            ]
            assert whole[r * N : (r + 1) * N, j] == pytest.approx([e[0] for e in expected], rel=1e-5)
            assert support[r, j] == pytest.approx(expected[0][1])
        # A list of candidates gives the rows of the catalogue, bit for bit.
        assert np.array_equal(rate[row : row + len(items)], whole[[r * N + i for i in items]])
        row += len(items)


def one(tmp_path: Path, words: list[Event], keys: list[int], hour: int) -> CrossArrays:
    cross = history(tmp_path, words, [])
    time = np.array([hour * HOUR])
    return cross.look_up(RequestKeys({WORD_KEYS: jagged([keys]), USER_KEYS: jagged([[0]])}, time, time))


def test_the_window_has_its_start_and_not_its_end(tmp_path: Path) -> None:
    # Window [10 - 3, 10): of the events at 6, 7, 9, 10 it holds those at 7 and 9.
    words = [(1, 0, 6), (1, 1, 7), (1, 2, 9), (1, 3, 10)]
    rate, support, *_ = one(tmp_path, words, [1], 10)
    assert support[0, :2].tolist() == [3, 2]
    assert rate[:, 0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    assert rate[:, 1].tolist() == [0, 0.5, 0.5, 0, 0, 0]


def test_averages_by_hand(tmp_path: Path) -> None:
    # Word 1: items 0, 0, 1. Word 2: item 0. Word 3: nothing.
    rate, support, *_ = one(tmp_path, [(1, 0, 1), (1, 0, 2), (1, 1, 3), (2, 0, 4)], [1, 2, 3], 10)
    # Arithmetic, over the two words with a history: item 0 has (2/3 + 1) / 2, item 1 has (1/3 + 0) / 2.
    assert rate[:2, 0].tolist() == pytest.approx([5 / 6, 1 / 6])
    assert support[0, 0] == (3 + 1) / 2
    # Geometric, over all three: the cube root of (C + 1/6) / (total + 1) each.
    item_0 = (2 + 1 / 6) / 4 * (1 + 1 / 6) / 2 * (1 / 6) / 1
    item_5 = (1 / 6) / 4 * (1 / 6) / 2 * (1 / 6) / 1
    assert rate[[0, 5], 2].tolist() == pytest.approx([item_0 ** (1 / 3), item_5 ** (1 / 3)])


def test_a_request_without_keys_and_without_candidates(tmp_path: Path) -> None:
    cross = history(tmp_path, [(1, 0, 1)], [])
    time = np.array([5 * HOUR] * 2)
    keys = RequestKeys({WORD_KEYS: jagged([[], [1]]), USER_KEYS: jagged([[], []])}, time, time)
    rate, support, *_ = cross.look_up(keys, jagged([[0, 1], []]))
    assert rate.tolist() == np.zeros((2, 5)).tolist()
    assert support[:, 0].tolist() == [0, 1]
    nobody = RequestKeys({WORD_KEYS: jagged([]), USER_KEYS: jagged([])}, time[:0], time[:0])
    assert [x.shape for x in cross.look_up(nobody, jagged([]))] == [(0, 5), (0, 5), (0, 0), (0, 0)]
    assert [x.shape for x in cross.look_up(nobody)] == [(0, 5), (0, 5), (0, 0), (0, 0)]


def test_windows_and_averages_share_a_store() -> None:
    assert [f.store for f in features_of(SCHEMA)] == [WORDS] * 4 + [USER]


def test_different_engagements_have_different_stores() -> None:
    # An engagement may be called as another one and a segment together.
    a = EngagementRate(EngagementRateSettings(engagement="click_country"))
    b = EngagementRate(EngagementRateSettings(engagement="click", segment="country"))
    assert (a.store, b.store) == ("iqp-query-click_country", "iqp-query-click-country")


def test_open_names_a_missing_history(tmp_path: Path) -> None:
    history(tmp_path / "cross_features", [(1, 0, 1)], [])
    (tmp_path / "cross_features" / USER / "keys").unlink()
    with pytest.raises(ValueError, match="iqp-user-click/keys' is missing"):
        CrossFeatures.open(tmp_path, SCHEMA, N)


def test_open_finds_all(tmp_path: Path) -> None:
    history(tmp_path / "cross_features", [(1, 0, 1)], [(1, 1, 2)])
    time: Any = np.array([5 * HOUR])
    keys = RequestKeys({WORD_KEYS: jagged([[1]]), USER_KEYS: jagged([[1]])}, time, time)
    rate = CrossFeatures.open(tmp_path, SCHEMA, N).look_up(keys).rate
    assert rate[:, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert rate[:, 4].tolist() == [0, 1, 0, 0, 0, 0]


COSINES = [ItemCosine(ItemCosineSettings(items=items)) for items in ("sequence", "same_query")]
SEQUENCE, SAME_QUERY = (feature.key_names[0] for feature in COSINES)


@given(
    shared=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), max_size=15),
    asked=st.lists(
        st.tuples(
            st.lists(st.integers(0, N - 1), max_size=4, unique=True),
            st.integers(0, 10),
            st.integers(0, 10),
            st.lists(st.integers(0, N - 1), max_size=4, unique=True),
        ),
        min_size=1,
        max_size=3,
    ),
)
@settings(deadline=None)
def test_cosine_is_that_of_a_loop(
    tmp_path_factory: pytest.TempPathFactory,
    shared: list[Event],
    asked: list[tuple[list[int], int, int, list[int]]],
) -> None:
    # A user had both items from that hour on; each item also comes with itself.
    rows = [r for a, b, t in shared for r in {(a, b, t), (b, a, t), (a, a, t), (b, b, t)}]
    table = np.array(rows, np.int64).reshape(-1, 3)
    store = EngagementCountStore.from_events(
        tmp_path_factory.mktemp("cosine"), table[:, 0], table[:, 1], table[:, 2] * HOUR
    )
    cross = CrossFeatures(COSINES, stores={"item_cosine": store}, num_items=N)
    sequences = jagged([a[0] for a in asked])
    keys = RequestKeys(
        {SEQUENCE: sequences, SAME_QUERY: jagged([a[0][:1] for a in asked])},
        time=np.array([a[1] * HOUR for a in asked]),
        sequence_end=np.array([min(a[1], a[2]) * HOUR for a in asked]),
    )
    whole, support, *_ = cross.look_up(keys)
    listed = cross.look_up(keys, jagged([a[3] for a in asked])).rate
    row = 0
    for r, (sequence, time, end, candidates) in enumerate(asked):

        def users(a: int, b: int, before: int = min(time, end)) -> int:
            return sum((x, y) == (a, b) and t < before for x, y, t in rows)

        for j, items in enumerate((sequence, sequence[:1])):
            seen = [s for s in items if users(s, s)]
            for p in range(N):
                cosines = [users(p, s) / max(users(p, p) * users(s, s), 1) ** 0.5 for s in seen]
                assert whole[r * N + p, j] == pytest.approx(sum(cosines) / max(len(seen), 1), abs=1e-6)
            assert support[r, j] == (len(seen) > 0)
        assert np.array_equal(listed[row : row + len(candidates)], whole[[r * N + p for p in candidates]])
        row += len(candidates)
    assert whole.max(initial=0) <= 1 + 1e-6


def test_only_what_is_wanted_is_looked_up(tmp_path: Path) -> None:
    cross = history(tmp_path, [(1, 0, 1), (1, 2, 2)], [(1, 1, 3)])
    time = np.array([5 * HOUR])
    keys = RequestKeys({WORD_KEYS: jagged([[1]]), USER_KEYS: jagged([[1]])}, time, time)
    whole, support, *_ = cross.look_up(keys)
    name = SCHEMA.cross_features[4].name
    found, found_support, *_ = cross.look_up(keys, only=[name])
    assert np.array_equal(found[:, 4], whole[:, 4])
    assert found_support[0, 4] == support[0, 4] == 1
    assert whole[:, 0].any()
    assert not np.delete(found, 4, 1).any()
