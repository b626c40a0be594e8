"""DataSchedule: which batches come at which step, before and after a change of ranks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from interactrank.core.epoch_partition import EpochPartition, Ranges
from interactrank.core.errors import TrainingError
from interactrank.distributed.world import process_group
from interactrank.training.data_position import DataPosition, DataSchedule
from interactrank.training.settings import TrainingSettings


class Numbers:
    """Batches are (epoch, position) of one of 24 samples; two a step on each rank."""

    def __init__(self, ranks: int = 1, rank: int = 0, requests: int = 24) -> None:
        self.ranks, self.rank, self.requests = ranks, rank, requests

    @property
    def steps_per_epoch(self) -> int:
        return self.partition().steps

    def partition(self, ranges: Ranges | None = None) -> EpochPartition:
        return EpochPartition(((0, self.requests),) if ranges is None else ranges, self.ranks, 2)

    def epoch(self, n: int, start: int = 0, ranges: Ranges | None = None) -> Iterator[Any]:
        partition = self.partition(ranges)
        mine = [p for first, last in partition.share(self.rank) for p in range(first, last)]
        for step in range(start, partition.steps):
            low = sum(partition.size(self.rank, s) for s in range(step))
            yield [(n, place) for place in mine[low : low + partition.size(self.rank, step)]]


class Plain:
    """A loader without a method partition."""

    steps_per_epoch = 12

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:
        yield from Numbers().epoch(n, start)


@pytest.fixture(autouse=True)
def _group() -> Iterator[None]:
    with process_group("cpu"):
        yield


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(values)


def run(
    ranks: int, count: int | None, at: DataPosition | None, **values: Any
) -> tuple[list[Any], DataSchedule]:
    """What all ranks see in the next ``count`` steps, or to the end."""
    seen: list[Any] = []
    for rank in range(ranks):
        data = DataSchedule(Numbers(ranks, rank), settings(**values), at, ranks=ranks)
        batches = data.batches()
        for _ in range(data.total - data.start.step if count is None else count):
            seen += next(batches)
    return seen, data


def test_a_new_run_and_its_positions() -> None:
    seen, data = run(2, None, None, epochs=2)
    assert (data.total, data.schedule_steps, data.schedule_step(3)) == (12, 12, 3)
    assert sorted(seen) == [(epoch, place) for epoch in (0, 1) for place in range(24)]
    # Step 8 of epochs of 6 steps: epoch 1, after 2 steps; rank 0 is at position 4 of 0..12, rank 1 at 16.
    assert data.position(8) == DataPosition(8, 1, 2, 2, 6, None, ((4, 12), (16, 24)))
    assert data.position(12) == DataPosition(12, 2, 0, 2, 6, None, ((0, 24),))


def test_a_position_survives_json() -> None:
    _, data = run(2, None, None, epochs=2)
    position = data.position(8)
    assert DataPosition.from_json(json.loads(json.dumps(position.to_json()))) == position


@pytest.mark.parametrize("epochs", [1, 3])
def test_two_ranks_one_rank_two_ranks_see_every_request_once_an_epoch(epochs: int) -> None:
    first, data = run(2, 2, None, epochs=epochs)
    at = data.position(2)
    second, data = run(1, 3, at, epochs=epochs)
    # 16 positions remain; one rank needs 8 steps for them and 12 for each later pass.
    assert (data.total, data.start.epoch_steps) == (2 + 8 + 12 * (epochs - 1), 8)
    at = data.position(5)
    third, data = run(2, None, at, epochs=epochs)
    # 10 positions remain: 3 steps of two ranks, then 6 a pass.
    assert data.total == 5 + 3 + 6 * (epochs - 1)
    assert sorted(first + second + third) == [(e, place) for e in range(epochs) for place in range(24)]


def test_the_same_ranks_go_on_with_their_own_batches() -> None:
    whole, _ = run(2, None, None, epochs=2)
    _, data = run(2, 4, None, epochs=2)
    at = data.position(4)
    for rank in range(2):
        data = DataSchedule(Numbers(2, rank), settings(epochs=2), at, ranks=2)
        rest = [next(data.batches(step)) for step in range(4, 12)]
        begun = DataSchedule(Numbers(2, rank), settings(epochs=2), None, ranks=2)
        assert rest == [next(begun.batches(step)) for step in range(4, 12)]
        assert data.position(9) == begun.position(9)
    assert len(whole) == 48


def test_a_rest_that_is_resumed_on_as_many_ranks_keeps_its_order() -> None:
    _, data = run(2, 2, None, epochs=2)
    _, data = run(1, 3, data.position(2), epochs=2)
    at = data.position(5)
    again = DataSchedule(Numbers(), settings(epochs=2), at, ranks=1)
    assert again.start == at
    assert [next(again.batches(s)) for s in range(5, 12)] == [next(data.batches(s)) for s in range(5, 12)]


def test_the_schedule_goes_by_the_share_of_the_data() -> None:
    _, data = run(2, 3, None, epochs=2)  # half an epoch of two; 12 steps of 12 positions
    _, alone = run(1, 0, data.position(3), epochs=2)
    # One rank would have made 6 of its 24 steps by then, and has 6 + 12 to go.
    assert (alone.total, alone.schedule_steps, alone.schedule_step(3)) == (3 + 18, 24, 6)
    assert alone.schedule_step(alone.total) == 24


def test_a_schedule_over_steps_counts_steps_whoever_makes_them() -> None:
    _, data = run(2, 3, None, steps=9)
    _, alone = run(1, 0, data.position(3), steps=9)
    assert (alone.total, alone.schedule_steps, alone.schedule_step(3)) == (9, 9, 3)


def test_between_epochs_any_loader_may_change_its_ranks() -> None:
    done = DataPosition(6, 1, 0, ranks=2, epoch_steps=6)
    data = DataSchedule(Plain(), settings(epochs=2), done, ranks=1)
    assert data.start == DataPosition(6, 1, 0, ranks=1, epoch_steps=12)
    assert data.total == 6 + 12


def test_a_loader_that_cannot_deal_out_a_rest_is_refused() -> None:
    at = DataPosition(3, 0, 3, ranks=2, epoch_steps=6)
    with pytest.raises(TrainingError) as error:
        DataSchedule(Plain(), settings(epochs=2), at, ranks=1)
    assert str(error.value).startswith(
        "the run to resume stopped in the middle of an epoch of 6 steps on 2 ranks; now there are 1 "
        "ranks and epochs of 12 steps, and Plain has no method `partition`"
    )


def test_other_data_is_refused() -> None:
    _, data = run(2, 3, None, epochs=2)
    with pytest.raises(TrainingError, match="used 24 samples an epoch, and the loader has 30"):
        DataSchedule(Numbers(requests=30), settings(epochs=2), data.position(3), ranks=1)


def test_data_schedule__fewer_samples_remain_than_ranks(caplog: pytest.LogCaptureFixture) -> None:
    _, data = run(1, 11, None, epochs=1)
    seen, data = run(5, None, data.position(11), epochs=1)
    assert data.total == 12
    assert set(seen) == {(0, 22), (0, 23)}
    assert "some ranks repeat one" in caplog.text


def test_segments__end_at_each_multiple_and_at_the_end() -> None:
    data = DataSchedule(Numbers(), settings(steps=10))
    # Multiples of 3 and of 4 up to 10, and 10.
    assert [(s.first, s.last) for s in data.segments(3, None, 4)] == [
        *((1, 3), (4, 4), (5, 6), (7, 8), (9, 9), (10, 10))
    ]
    assert [(s.first, s.last) for s in data.segments(None)] == [(1, 10)]
    resumed = DataSchedule(Numbers(), settings(steps=10), data.position(4), ranks=1)
    assert [(s.first, s.last) for s in resumed.segments(3)] == [(5, 6), (7, 9), (10, 10)]


def test_segments__a_stopped_one_leaves_its_other_batches_to_the_next() -> None:
    data = DataSchedule(Numbers(), settings(steps=4))
    seen = []
    for segment in data.segments(3):
        for step in segment:
            seen.append((step, next(segment.batches)))
            if step == 1:
                segment.stop_after(2)
                assert next(segment.batches, None) is None
                break
    # The batch of step 2 was left to the pipeline, which had not prefetched it: it is the next.
    assert [step for step, _ in seen] == [1, 3, 4]
    assert [batch for _, batch in seen] == [[(0, 2 * n), (0, 2 * n + 1)] for n in range(3)]


def test_a_new_run_that_would_end_within_its_warm_up_is_refused() -> None:
    long, one_less = {"warmup_steps": 12}, {"warmup_steps": 11}
    with pytest.raises(TrainingError, match="a warm-up of 12 steps is as long as the whole training of 12"):
        DataSchedule(Numbers(), settings(epochs=1, schedule=long))
    assert DataSchedule(Numbers(), settings(epochs=1, schedule=one_less)).total == 12
    # On two ranks an epoch has half the steps; a run that is under way goes on.
    halved = DataSchedule(
        Numbers(2), settings(epochs=1, schedule=one_less), DataPosition(epoch_steps=12), ranks=2
    )
    assert halved.total == 6
