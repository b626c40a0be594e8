"""UserSequences against a loop over events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactrank.data.prepared.user_sequences import UserSequences

HOUR = 3_600_000
events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 9)), max_size=20)
asked = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 10), st.integers(0, 10)), max_size=6)


@given(events=events, asked=asked, length=st.integers(1, 4), cut=st.integers(0, 20))
def test_the_last_events_before_the_end(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[int, int, int]],
    asked: list[tuple[int, int, int]],
    length: int,
    cut: int,
) -> None:
    events.sort(key=lambda e: e[:2])
    user, hour, item = np.array(events, np.int64).reshape(-1, 3).T
    columns = (user, hour * HOUR, item, item + 100, item % 2)
    blocks = [tuple(c[:cut] for c in columns), tuple(c[cut:] for c in columns)]
    history = UserSequences.build(tmp_path_factory.mktemp("users"), blocks, num_users=4)
    users, time, end = np.array(asked, np.int64).reshape(-1, 3).T
    found = history.last(users, time * HOUR, end * HOUR, length)
    expected = [
        [e for e in events if e[0] == u and e[1] < min(t, stop)][::-1][:length] for u, t, stop in asked
    ]
    assert found.item.lengths.tolist() == [len(row) for row in expected]
    assert found.item.values.tolist() == [e[2] for row in expected for e in row]
    assert found.query.tolist() == [e[2] + 100 for row in expected for e in row]
    assert found.action.tolist() == [e[2] % 2 for row in expected for e in row]
    ages = [t - e[1] for (_, t, _), row in zip(asked, expected, strict=True) for e in row]
    assert found.age.tolist() == ages
    assert all(age > 0 for age in ages)


@given(events=events, length=st.integers(1, 4), block=st.integers(1, 6))
def test_items_that_users_share(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, int, int]], length: int, block: int
) -> None:
    events.sort(key=lambda e: e[:2])
    user, hour, item = np.array(events, np.int64).reshape(-1, 3).T
    history = UserSequences.build(
        tmp_path_factory.mktemp("users"), [(user, hour * HOUR, item, item, item % 2)], num_users=4
    )
    expected = []
    for u in range(4):
        first: dict[int, int] = {}  # item -> hour of the first engagement, in that order
        for _, t, i in (e for e in events if e[0] == u):
            first.setdefault(i, t)
        items = list(first)
        for x, one in enumerate(items):
            for y, other in enumerate(items):
                if abs(x - y) < length:
                    expected.append((one, other, max(first[one], first[other]) * HOUR))
    found = [row for b in history.shared(length, block) for row in zip(*(c.tolist() for c in b), strict=True)]
    assert sorted(found) == sorted(expected)
