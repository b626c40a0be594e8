"""Deadlines: what is ready is answered, a full queue is refused, and the thread goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import pytest
import torch

from interactrank.server.failures import Refusal
from interactrank.server.lane import TOGETHER, Lane
from interactrank.server.progress import CrossCost, Progress, Together
from interactrank.serving.ranking import Ranking


def ranking(scores: torch.Tensor) -> Ranking:
    return Ranking(["a"], np.array([0]), scores.numpy(), [], degraded=True)


class Job:
    """A job that calls a function; those with a kind may be ranked together."""

    def __init__(self, run: Callable[[Progress], Ranking], kind: Hashable | None = None) -> None:
        self.run, self.kind = run, kind
        self.together: list[int] = []

    def rank(self, progress: Progress) -> Ranking:
        return self.run(progress)

    def rank_together(self, jobs: Sequence[Job], progress: Sequence[Progress]) -> list[Ranking]:
        self.together.append(len(jobs))
        return [job.run(of) for job, of in zip(jobs, progress, strict=True)]


FULL = Ranking(["b"], np.array([1]), np.ones(1, np.float32), [])


def test_a_job_in_time_is_answered_in_full() -> None:
    async def run() -> Ranking:
        lane = Lane(1)
        return await lane.rank(lane.progress(10_000), Job(lambda progress: FULL))

    assert asyncio.run(run()) is FULL


def test_at_the_deadline_the_dot_products_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are a copy: cross features are added to the tensor while it waits."""
    go = threading.Event()

    async def run() -> Ranking:
        lane, ready = Lane(1), asyncio.Event()
        loop = asyncio.get_running_loop()

        def job(progress: Progress) -> Ranking:
            dots = torch.tensor([0.5])
            assert progress.goes_on(dots, ranking)
            dots += 1
            loop.call_soon_threadsafe(ready.set)
            go.wait(10)
            return FULL

        async def wait_for(future: object, timeout: float) -> Ranking:
            await ready.wait()  # the deadline passes when the dot products are there
            raise asyncio.TimeoutError

        monkeypatch.setattr(asyncio, "wait_for", wait_for)
        found = await lane.rank(lane.progress(10_000), Job(job))
        go.set()
        lane.close()
        return found

    found = asyncio.run(run())
    assert found.degraded
    assert found.scores.tolist() == [0.5]


def test_what_waits_beyond_the_bound_is_refused_and_told_when_to_come_back() -> None:
    async def run() -> None:
        go, lane = threading.Event(), Lane(2)

        def job(progress: Progress) -> Ranking:
            go.wait(10)
            return FULL

        first = [asyncio.create_task(lane.rank(lane.progress(10_000), Job(job))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="2 requests wait already") as refused:
            await lane.rank(lane.progress(10_000), Job(job))
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        go.set()
        assert await asyncio.gather(*first) == [FULL, FULL]
        await asyncio.sleep(0)
        assert await lane.rank(lane.progress(10_000), Job(job)) is FULL

    asyncio.run(run())


def test_a_job_for_which_nobody_waits_is_not_begun() -> None:
    async def run() -> list[int]:
        go, lane, begun = threading.Event(), Lane(9), []

        def block(progress: Progress) -> Ranking:
            go.wait(10)
            return FULL

        def count(progress: Progress) -> Ranking:
            begun.append(1)
            return FULL

        first = asyncio.create_task(lane.rank(lane.progress(10_000), Job(block)))
        await asyncio.sleep(0)
        with pytest.raises(Refusal):
            await lane.rank(lane.progress(1), Job(count))
        go.set()
        await first
        lane.close()
        return begun

    assert asyncio.run(run()) == []


def test_cross_features_are_left_out_if_they_would_be_late() -> None:
    cost = CrossCost()
    assert Progress(1.0, cost).goes_on(torch.zeros(1), ranking)  # nothing is known of their cost
    cost.saw(5.0)
    assert not Progress(1.0, cost).goes_on(torch.zeros(1), ranking)
    assert cost.seconds == pytest.approx(4.5)  # 5.0 less a tenth, so that it is tried again
    assert Progress(60.0, cost).goes_on(torch.zeros(1), ranking)
    assert Progress(60.0, cost).partial() is None


def test_what_waits_is_ranked_together_up_to_a_bound_and_by_kind() -> None:
    async def run() -> tuple[list[int], list[Ranking]]:
        go, lane = threading.Event(), Lane(99)

        def block(progress: Progress) -> Ranking:
            go.wait(10)
            return FULL

        first = asyncio.create_task(lane.rank(lane.progress(10_000), Job(block, "a")))
        await asyncio.sleep(0.05)  # it has begun, alone
        answers = [Ranking([str(n)], np.array([n]), np.ones(1, np.float32), []) for n in range(9)]
        kinds = ["a", "a", "b", "b", None, None, "a", "a", "a"]
        jobs = [Job(lambda progress, n=n: answers[n], kind) for n, kind in enumerate(kinds)]  # type: ignore[misc]
        rest = [asyncio.create_task(lane.rank(lane.progress(10_000), job)) for job in jobs]
        await asyncio.sleep(0)
        go.set()
        found = await asyncio.gather(first, *rest)
        assert lane.waiting == 0
        return [n for job in jobs for n in job.together], found[1:]

    together, found = asyncio.run(run())
    assert together == [2, 2, 3]
    assert [of.ids for of in found] == [[str(n)] for n in range(9)]
    assert TOGETHER >= 3


def test_an_error_is_only_of_the_request_that_has_it() -> None:
    async def run() -> list[object]:
        go, lane = threading.Event(), Lane(99)

        def block(progress: Progress) -> Ranking:
            go.wait(10)
            return FULL

        def fail(progress: Progress) -> Ranking:
            raise Refusal(422, "invalid", "wrong")

        runs: list[Callable[[Progress], Ranking]] = [
            block,
            lambda progress: FULL,
            fail,
            lambda progress: FULL,
        ]
        tasks = []
        for one in runs:
            tasks.append(asyncio.create_task(lane.rank(lane.progress(10_000), Job(one, "a"))))
            await asyncio.sleep(0.02)
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third, fourth = asyncio.run(run())
    assert (first, second, fourth) == (FULL, FULL, FULL)
    assert isinstance(third, Refusal)


def test_stages_of_requests_that_are_ranked_together() -> None:
    both = [Progress(60.0, CrossCost()) for _ in range(2)]
    watch = Together(both)
    for stage in ("read", "towers"):
        watch.begin(stage)
    for of in both:
        for stage in ("candidates", "dots"):
            watch.begin(stage)
        assert watch.goes_on(torch.tensor([0.5]), ranking)
        assert of.partial() is not None
        watch.begin("best")
    for of in both:
        of.begin("answer")
        assert set(of.stages) == {"body", "read", "towers", "others", "candidates", "dots", "best"}
