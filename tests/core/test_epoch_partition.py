"""Deal: every place once, ranks that end together, and the same again after any change of ranks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactrank.core.epoch_partition import Deal, Places


def expand(places: Places) -> list[int]:
    return [place for first, last in places for place in range(first, last)]


def batches(deal: Deal, rank: int) -> list[list[int]]:
    """The places of each step of a rank, by taking sizes off its share."""
    mine = expand(deal.share(rank))
    out = []
    for step in range(deal.steps):
        size = deal.size(rank, step)
        out.append(mine[:size])
        mine = mine[size:]
    assert not mine
    return out


def test_ten_places_over_two_ranks() -> None:
    deal = Deal(((0, 10),), ranks=2, batch=2)
    # 5 places a rank, 2 at most a step: ceil(5 / 2) = 3 steps, cut at 5*0//3, 5*1//3, 5*2//3 and 5.
    assert deal.steps == 3
    assert batches(deal, 0) == [[0], [1, 2], [3, 4]]
    assert batches(deal, 1) == [[5], [6, 7], [8, 9]]
    assert [deal.left(step) for step in range(4)] == [((0, 10),), ((1, 5), (6, 10)), ((3, 5), (8, 10)), ()]


def test_what_is_left_is_shared_in_order() -> None:
    deal = Deal(((1, 5), (6, 10)), ranks=3, batch=4)
    # 8 places: shares from 0, 2 and 5 to 2, 5 and 8 of the list 1 2 3 4 6 7 8 9.
    assert [expand(deal.share(r)) for r in range(3)] == [[1, 2], [3, 4, 6], [7, 8, 9]]


def test_fewer_places_than_ranks_are_one_step_in_which_ranks_repeat() -> None:
    deal = Deal(((4, 5), (9, 10)), ranks=3, batch=8)
    assert deal.steps == 1
    assert [batches(deal, r) for r in range(3)] == [[[4]], [[9]], [[4]]]
    assert deal.share(0, start=1) == ()
    assert deal.left(0) == ((4, 5), (9, 10))
    assert deal.left(1) == ()


def test_nothing_is_no_step() -> None:
    deal = Deal((), ranks=2, batch=3)
    assert (deal.steps, deal.share(1), deal.left(0)) == (0, (), ())


@given(
    count=st.integers(1, 200),
    batch=st.integers(1, 9),
    changes=st.lists(st.tuples(st.integers(1, 6), st.floats(0, 1)), max_size=4),
)
def test_every_place_comes_once_over_any_changes_of_ranks(
    count: int, batch: int, changes: list[tuple[int, float]]
) -> None:
    seen: list[int] = []
    left: Places = ((0, count),)
    for ranks, share in [*changes, (1, 1.0)]:
        deal = Deal(left, ranks, batch)
        if deal.count < ranks:
            continue  # the one case in which ranks repeat each other
        done = round(share * deal.steps)
        for rank in range(ranks):
            steps = batches(deal, rank)
            assert len(steps) == deal.steps
            # A batch is as large as asked for, but for one more where a rank would else have one step less.
            assert all(1 <= len(step) <= batch + (batch == 1) for step in steps)
            seen += [place for step in steps[:done] for place in step]
            assert expand(deal.share(rank, done)) == [place for step in steps[done:] for place in step]
        left = deal.left(done)
    assert sorted(seen + expand(left)) == list(range(count))


@pytest.mark.parametrize("ranks", [1, 7, 64])
def test_a_share_has_few_runs(ranks: int) -> None:
    left = Deal(((0, 10**12),), ranks=ranks, batch=512).left(5)
    assert len(left) == ranks
    assert len(Deal(left, ranks=1024, batch=512).left(1)) <= 1024 + ranks
