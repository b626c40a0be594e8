"""Lane: the thread of a worker that ranks, the queue before it, and the deadlines of what waits.

Requests that wait together are ranked together: what they share, reading and the query tower, is done once
for all of them. One that comes alone is ranked at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from interactrank.server.failures import busy
from interactrank.server.progress import CrossCost, Progress
from interactrank.serving.ranking import Ranking

__all__ = ["TOGETHER", "Job", "Lane"]

TOGETHER = 8
"""Requests that are ranked together at most: each waits for the others."""


class Job(Protocol):
    """A request to rank."""

    @property
    def kind(self) -> Hashable | None:
        """Jobs of one kind can be ranked together; None for none."""

    def rank(self, progress: Progress) -> Ranking:
        """Rank it by itself."""

    def rank_together(self, all_of_them: Sequence[Any], progress: Sequence[Progress]) -> Sequence[Ranking]:
        """Rank jobs of this kind, with a progress for each."""


class _Waiting(NamedTuple):
    job: Job
    progress: Progress
    result: Future[Ranking]


class Lane:
    """One thread, so that a request has the processor to itself, while another thread reads and writes.

    Args:
        longest_queue: requests that may wait; more are refused at once.
    """

    def __init__(self, longest_queue: int) -> None:
        self.longest_queue = longest_queue
        self._cost = CrossCost()
        self._queue: deque[_Waiting] = deque()
        self._unfinished = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rank")

    @property
    def waiting(self) -> int:
        """Requests that wait or are ranked."""
        return self._unfinished

    def progress(self, timeout_ms: float) -> Progress:
        """Return the progress of a request that arrived now."""
        return Progress(timeout_ms / 1000, self._cost)

    async def rank(self, progress: Progress, job: Job) -> Ranking:
        """Run a job on the thread until the deadline; then return what is ready.

        Raises:
            Refusal: too many wait, or nothing is ready at the deadline.
        """
        if self.waiting >= self.longest_queue:
            raise busy(f"{self.waiting} requests wait already; ask again later, or run more workers")
        progress.begin("queue")
        self._unfinished += 1
        result: Future[Ranking] = Future()
        self._queue.append(_Waiting(job, progress, result))
        self._thread.submit(self._work)
        future = asyncio.wrap_future(result)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), max(progress.left, 0.0))
        except asyncio.TimeoutError:
            progress.given_up = True
            if (found := progress.partial()) is not None:
                return found
            raise busy(
                "nothing was ready at the deadline; ask again later, or allow more timeout_ms"
            ) from None

    def close(self) -> None:
        """End the thread when what waits is done."""
        self._thread.shutdown()

    def _done(self, future: asyncio.Future[Ranking]) -> None:
        self._unfinished -= 1
        if not future.cancelled():
            future.exception()  # asyncio would print that of one for which nobody waits any more

    def _work(self) -> None:
        """Rank the first that waits, with others of its kind; it may have been ranked with one before."""
        group: list[_Waiting] = []
        while self._queue and len(group) < TOGETHER:
            first = self._queue[0]
            kind = first.job.kind
            if group and (kind is None or kind != group[0].job.kind):
                break
            self._queue.popleft()
            if first.progress.given_up:
                first.result.set_exception(TimeoutError())
            else:
                group.append(first)
        if len(group) > 1 and not self._ranked_together(group):
            for waiting in group:
                self._rank_alone(waiting)
        elif len(group) == 1:
            self._rank_alone(group[0])

    def _ranked_together(self, group: list[_Waiting]) -> bool:
        """Return whether all were ranked; an error does not say whose it is."""
        try:
            found = group[0].job.rank_together([of.job for of in group], [of.progress for of in group])
        except Exception:
            return False
        for waiting, ranking in zip(group, found, strict=True):
            waiting.progress.begin("answer")
            waiting.result.set_result(ranking)
        return True

    def _rank_alone(self, waiting: _Waiting) -> None:
        try:
            found = waiting.job.rank(waiting.progress)
            waiting.progress.begin("answer")
        except BaseException as error:
            waiting.result.set_exception(error)
        else:
            waiting.result.set_result(found)
