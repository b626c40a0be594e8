"""EpochPartition: every position once, ranks that end together, after any change of ranks, too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactrank.core.epoch_partition import EpochPartition, Ranges


def expand(ranges: Ranges) -> list[int]:
    return [position for first, last in ranges for position in range(first, last)]


def batches(partition: EpochPartition, rank: int) -> list[list[int]]:
    """Return the positions of each step of a rank, by taking sizes off its share."""
    mine = expand(partition.share(rank))
    out = []
    for step in range(partition.steps):
        size = partition.size(rank, step)
        out.append(mine[:size])
        mine = mine[size:]
    assert not mine
    return out


def test_partition__ten_positions_over_two_ranks() -> None:
    partition = EpochPartition(((0, 10),), ranks=2, batch=2)
    # 5 positions a rank, 2 at most a step: ceil(5 / 2) = 3 steps, cut at 5*0//3, 5*1//3, 5*2//3 and 5.
    assert partition.steps == 3
    assert batches(partition, 0) == [[0], [1, 2], [3, 4]]
    assert batches(partition, 1) == [[5], [6, 7], [8, 9]]
    assert [partition.remaining(step) for step in range(4)] == [
        ((0, 10),),
        ((1, 5), (6, 10)),
        ((3, 5), (8, 10)),
        (),
    ]


def test_partition__what_remains_is_shared_in_order() -> None:
    partition = EpochPartition(((1, 5), (6, 10)), ranks=3, batch=4)
    # 8 positions: shares from 0, 2 and 5 to 2, 5 and 8 of the list 1 2 3 4 6 7 8 9.
    assert [expand(partition.share(r)) for r in range(3)] == [[1, 2], [3, 4, 6], [7, 8, 9]]


def test_partition__fewer_positions_than_ranks_are_one_step_in_which_ranks_repeat() -> None:
    partition = EpochPartition(((4, 5), (9, 10)), ranks=3, batch=8)
    assert partition.steps == 1
    assert [batches(partition, r) for r in range(3)] == [[[4]], [[9]], [[4]]]
    assert partition.share(0, start=1) == ()
    assert partition.remaining(0) == ((4, 5), (9, 10))
    assert partition.remaining(1) == ()


def test_partition__nothing_has_zero_steps() -> None:
    partition = EpochPartition((), ranks=2, batch=3)
    assert (partition.steps, partition.share(1), partition.remaining(0)) == (0, (), ())


@given(
    count=st.integers(1, 200),
    batch=st.integers(1, 9),
    changes=st.lists(st.tuples(st.integers(1, 6), st.floats(0, 1)), max_size=4),
)
def test_partition__every_position_comes_once_over_any_changes_of_ranks(
    count: int, batch: int, changes: list[tuple[int, float]]
) -> None:
    seen: list[int] = []
    remaining: Ranges = ((0, count),)
    for ranks, share in [*changes, (1, 1.0)]:
        partition = EpochPartition(remaining, ranks, batch)
        if partition.count < ranks:
            continue  # the one case in which ranks repeat each other
        done = round(share * partition.steps)
        for rank in range(ranks):
            steps = batches(partition, rank)
            assert len(steps) == partition.steps
            # A batch is as large as asked for, but for one more where a rank would else have one step less.
            assert all(1 <= len(step) <= batch + (batch == 1) for step in steps)
            seen += [position for step in steps[:done] for position in step]
            assert expand(partition.share(rank, done)) == [
                position for step in steps[done:] for position in step
            ]
        remaining = partition.remaining(done)
    assert sorted(seen + expand(remaining)) == list(range(count))


@pytest.mark.parametrize("ranks", [1, 7, 64])
def test_partition__remaining_positions_are_few_ranges(ranks: int) -> None:
    remaining = EpochPartition(((0, 10**12),), ranks=ranks, batch=512).remaining(5)
    assert len(remaining) == ranks
    assert len(EpochPartition(remaining, ranks=1024, batch=512).remaining(1)) <= 1024 + ranks
