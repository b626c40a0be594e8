"""Lane: the thread of a worker that ranks, the queue before it, and the deadlines of what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from interactrank.server.failures import busy
from interactrank.server.progress import CrossCost, Progress
from interactrank.serving.ranking import Ranking

__all__ = ["Lane"]


class Lane:
    """One thread, so that a request has the processor to itself, while another thread reads and writes.

    Args:
        longest_queue: requests that may wait; more are refused at once.
    """

    def __init__(self, longest_queue: int) -> None:
        self.longest_queue = longest_queue
        self.waiting = 0
        self._cost = CrossCost()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rank")

    def progress(self, timeout_ms: float) -> Progress:
        """Return the progress of a request that arrived now."""
        return Progress(timeout_ms / 1000, self._cost)

    async def rank(self, progress: Progress, job: Callable[[Progress], Ranking]) -> Ranking:
        """Run a job on the thread until the deadline; then return what is ready.

        Raises:
            Refusal: too many wait, or nothing is ready at the deadline.
        """
        if self.waiting >= self.longest_queue:
            raise busy(f"{self.waiting} requests wait already; ask again later, or run more workers")
        progress.begin("queue")
        future = self._submit(progress, job)
        try:
            return await asyncio.wait_for(asyncio.shield(future), max(progress.left, 0.0))
        except asyncio.TimeoutError:
            progress.given_up = True
            future.add_done_callback(_ignore)
            if (found := progress.partial()) is not None:
                return found
            raise busy(
                "nothing was ready at the deadline; ask again later, or allow more timeout_ms"
            ) from None

    async def run(self, job: Callable[[], Any]) -> Any:
        """Run something else between requests."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def close(self) -> None:
        """End the thread when what waits is done."""
        self._thread.shutdown()

    def _submit(self, progress: Progress, job: Callable[[Progress], Ranking]) -> asyncio.Future[Ranking]:
        def run() -> Ranking:
            if progress.given_up:
                raise TimeoutError
            found = job(progress)
            progress.begin("answer")
            return found

        future = asyncio.get_running_loop().run_in_executor(self._thread, run)
        self.waiting += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, future: asyncio.Future[Ranking]) -> None:
        self.waiting -= 1


def _ignore(future: asyncio.Future[Ranking]) -> None:
    """Fetch the error of a job for which nobody waits, as asyncio would print it."""
    if not future.cancelled():
        future.exception()
