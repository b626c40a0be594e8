"""Course: which batches come at which step, before and after a change of ranks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from interactrank.core.epoch_partition import Deal, Places
from interactrank.core.errors import TrainingError
from interactrank.distributed.world import process_group
from interactrank.training.data_position import Course, Position
from interactrank.training.settings import TrainingSettings


class Numbers:
    """Batches are (epoch, first place) of one of 24 requests; two a step on each rank."""

    def __init__(self, ranks: int = 1, rank: int = 0, requests: int = 24) -> None:
        self.ranks, self.rank, self.requests = ranks, rank, requests

    @property
    def steps_per_epoch(self) -> int:
        return self.deal().steps

    def deal(self, places: Places | None = None) -> Deal:
        return Deal(((0, self.requests),) if places is None else places, self.ranks, 2)

    def epoch(self, n: int, start: int = 0, places: Places | None = None) -> Iterator[Any]:
        deal = self.deal(places)
        mine = [p for first, last in deal.share(self.rank) for p in range(first, last)]
        for step in range(start, deal.steps):
            low = sum(deal.size(self.rank, s) for s in range(step))
            yield [(n, place) for place in mine[low : low + deal.size(self.rank, step)]]


class Plain:
    """A loader that cannot deal anything out."""

    steps_per_epoch = 12

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:
        yield from Numbers().epoch(n, start)


@pytest.fixture(autouse=True)
def _group() -> Iterator[None]:
    with process_group("cpu"):
        yield


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(values)


def run(ranks: int, count: int | None, at: Position | None, **values: Any) -> tuple[list[Any], Course]:
    """What all ranks see in the next ``count`` steps, or to the end."""
    seen: list[Any] = []
    for rank in range(ranks):
        course = Course(Numbers(ranks, rank), settings(**values), at, ranks=ranks)
        batches = course.batches()
        for _ in range(course.total - course.start.step if count is None else count):
            seen += next(batches)
    return seen, course


def test_a_new_run_and_its_positions() -> None:
    seen, course = run(2, None, None, epochs=2)
    assert (course.total, course.schedule_steps, course.schedule_step(3)) == (12, 12, 3)
    assert sorted(seen) == [(epoch, place) for epoch in (0, 1) for place in range(24)]
    # Step 8 of passes of 6 steps: epoch 1, after 2 of its steps; rank 0 is at 4 of 12 places, rank 1 at 16.
    assert course.position(8) == Position(8, 1, 2, 2, 6, None, ((4, 12), (16, 24)))
    assert course.position(12) == Position(12, 2, 0, 2, 6, None, ((0, 24),))


def test_a_position_survives_json() -> None:
    _, course = run(2, None, None, epochs=2)
    position = course.position(8)
    assert Position.from_json(json.loads(json.dumps(asdict(position)))) == position


@pytest.mark.parametrize("epochs", [1, 3])
def test_two_ranks_one_rank_two_ranks_see_every_request_once_an_epoch(epochs: int) -> None:
    first, course = run(2, 2, None, epochs=epochs)
    at = course.position(2)
    second, course = run(1, 3, at, epochs=epochs)
    # 16 places are left; one rank needs 8 steps for them and 12 for each later pass.
    assert (course.total, course.start.epoch_steps) == (2 + 8 + 12 * (epochs - 1), 8)
    at = course.position(5)
    third, course = run(2, None, at, epochs=epochs)
    # 10 places are left: 3 steps of two ranks, then 6 a pass.
    assert course.total == 5 + 3 + 6 * (epochs - 1)
    assert sorted(first + second + third) == [(e, place) for e in range(epochs) for place in range(24)]


def test_the_same_ranks_go_on_with_their_own_batches() -> None:
    whole, _ = run(2, None, None, epochs=2)
    _, course = run(2, 4, None, epochs=2)
    at = course.position(4)
    for rank in range(2):
        course = Course(Numbers(2, rank), settings(epochs=2), at, ranks=2)
        rest = [next(course.batches(step)) for step in range(4, 12)]
        begun = Course(Numbers(2, rank), settings(epochs=2), None, ranks=2)
        assert rest == [next(begun.batches(step)) for step in range(4, 12)]
        assert course.position(9) == begun.position(9)
    assert len(whole) == 48


def test_a_rest_that_is_resumed_on_as_many_ranks_keeps_its_order() -> None:
    _, course = run(2, 2, None, epochs=2)
    _, course = run(1, 3, course.position(2), epochs=2)
    at = course.position(5)
    again = Course(Numbers(), settings(epochs=2), at, ranks=1)
    assert again.start == at
    assert [next(again.batches(s)) for s in range(5, 12)] == [next(course.batches(s)) for s in range(5, 12)]


def test_the_schedule_goes_by_the_share_of_the_data() -> None:
    _, course = run(2, 3, None, epochs=2)  # half an epoch of two; 12 steps of 12 places
    _, alone = run(1, 0, course.position(3), epochs=2)
    # One rank would have made 6 of its 24 steps by then, and has 6 + 12 to go.
    assert (alone.total, alone.schedule_steps, alone.schedule_step(3)) == (3 + 18, 24, 6)
    assert alone.schedule_step(alone.total) == 24


def test_a_schedule_over_steps_counts_steps_whoever_makes_them() -> None:
    _, course = run(2, 3, None, steps=9)
    _, alone = run(1, 0, course.position(3), steps=9)
    assert (alone.total, alone.schedule_steps, alone.schedule_step(3)) == (9, 9, 3)


def test_between_epochs_any_loader_may_change_its_ranks() -> None:
    done = Position(6, 1, 0, ranks=2, epoch_steps=6)
    course = Course(Plain(), settings(epochs=2), done, ranks=1)
    assert course.start == Position(6, 1, 0, ranks=1, epoch_steps=12)
    assert course.total == 6 + 12


def test_a_loader_that_cannot_deal_out_a_rest_is_refused() -> None:
    at = Position(3, 0, 3, ranks=2, epoch_steps=6)
    with pytest.raises(TrainingError) as error:
        Course(Plain(), settings(epochs=2), at, ranks=1)
    assert str(error.value).startswith(
        "the run to be resumed stopped in the middle of an epoch of 6 steps on 2 ranks; now there are 1 "
        "ranks and epochs of 12 steps, and Plain has no method `deal`"
    )


def test_other_data_is_refused() -> None:
    _, course = run(2, 3, None, epochs=2)
    with pytest.raises(TrainingError, match="went through 24 requests an epoch, and the loader has 30"):
        Course(Numbers(requests=30), settings(epochs=2), course.position(3), ranks=1)


def test_fewer_requests_left_than_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    _, course = run(1, 11, None, epochs=1)
    seen, course = run(5, None, course.position(11), epochs=1)
    assert course.total == 12
    assert set(seen) == {(0, 22), (0, 23)}
    assert "some ranks repeat one" in capsys.readouterr().err


def test_a_new_run_that_would_end_within_its_warm_up_is_refused() -> None:
    long, one_less = {"warmup_steps": 12}, {"warmup_steps": 11}
    with pytest.raises(TrainingError, match="a warm-up of 12 steps is as long as the whole training of 12"):
        Course(Numbers(), settings(schedule=long))
    assert Course(Numbers(), settings(schedule=one_less)).total == 12
    # On two ranks an epoch has half the steps; a run that is under way goes on.
    halved = Course(Numbers(2), settings(schedule=one_less), Position(epoch_steps=12), ranks=2)
    assert halved.total == 6
