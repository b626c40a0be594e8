"""Sequences with what was recorded are those of all events together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.serving.fresh.new_events import NewEvents
from interactrank.serving.fresh.sequences import FreshSequences, UserEvents

USERS = 3
EVENT = st.tuples(
    st.integers(0, USERS - 1), st.integers(0, 9), st.integers(0, 5), st.integers(0, 2), st.integers(0, 1)
)
EVENTS = st.lists(EVENT, max_size=10)


def base(events: list[tuple[int, ...]]) -> UserSequences:
    """Those of the users 0 and 1; user 2 is new."""
    of = UserEvents.of([e for e in events if e[0] < USERS - 1])
    offsets = np.searchsorted(of.user, np.arange(USERS))
    return UserSequences(offsets, *of[1:])


def found(sequences: FreshSequences, user: int) -> list[tuple[int, ...]]:
    row = user if user < USERS - 1 else -1
    return list(zip(*(column.tolist() for column in sequences.of(row, user)), strict=True))


@given(EVENTS, st.lists(EVENTS, max_size=4))
def test_events_come_in_order_of_time_then_of_item(
    logged: list[tuple[int, ...]], later: list[list[tuple[int, ...]]]
) -> None:
    sequences = FreshSequences(base(logged))
    for block in later:
        sequences = sequences.added(UserEvents.of(block))
    for user in range(USERS):
        old = [e for e in logged if e[0] == user and user < USERS - 1]
        every = [*old, *(e for block in later for e in block if e[0] == user)]
        of = found(sequences, user)
        assert sorted(of) == sorted(e[1:] for e in every)
        assert [e[0] for e in of] == sorted(e[0] for e in of)
    assert sequences.of(-1, None)[0].tolist() == []


@given(EVENTS, EVENTS)
def test_what_is_removed_is_gone_once(added: list[tuple[int, ...]], gone: list[tuple[int, ...]]) -> None:
    sequences = FreshSequences(base([])).added(UserEvents.of(added)).added(UserEvents.of(added[:3]))
    left = [*added, *added[:3]]
    for event in gone:
        if event in left:
            left.remove(event)
    sequences = sequences.removed(UserEvents.of(gone))
    assert sorted((u, *e) for u in range(USERS) for e in found_new(sequences, u)) == sorted(left)


def found_new(sequences: FreshSequences, user: int) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in sequences.of(-1, user)), strict=True))


def test_events_of_the_export_come_before_those_of_the_same_moment() -> None:
    sequences = FreshSequences(base([(0, 5, 4, 0, 0)])).added(
        UserEvents.of([(0, 5, 3, 0, 0), (0, 5, 1, 0, 0)])
    )
    assert [item for _, item, *_ in found(sequences, 0)] == [4, 1, 3]


def test_a_new_item_of_a_user_is_shared_with_those_near_it() -> None:
    """User 0 had the items 1 and 2; then 3 at 30 and, late, 4 at 15. With length 2 only neighbours count."""
    before = FreshSequences(base([(0, 10, 1, 0, 0), (0, 20, 2, 0, 0)]))
    events = UserEvents.of([(0, 30, 3, 1, 0), (0, 15, 4, 0, 0), (0, 40, 1, 2, 0)])
    (rows,) = NewEvents(events, before, {0: 0}, length=2).shared()
    assert list(zip(*(c.tolist() for c in rows), strict=True)) == [
        (4, 4, 15),
        *[(4, 1, 15), (1, 4, 15)],
        *[(4, 2, 20), (2, 4, 20)],  # both since 20
        (3, 3, 30),
        *[(3, 2, 30), (2, 3, 30)],
    ]
    (rows,) = NewEvents(events, before, {0: 0}, length=2).queries()
    assert list(zip(*(c.tolist() for c in rows), strict=True)) == [(3, 1, 30), (1, 2, 40)]
