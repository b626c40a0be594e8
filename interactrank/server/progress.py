"""Progress: one request on its way: its deadline, the times of its stages, and what is ready of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from torch import Tensor

from interactrank.serving.ranking import Ranking

__all__ = ["CrossCost", "Progress", "Together"]

_SMOOTHING = 0.1


class CrossCost:
    """How long cross features take: what a request must have left before its deadline to look them up.

    Example::

        >>> cost = CrossCost()
        >>> cost.saw(2.0)
        >>> cost.saw(4.0)
        >>> cost.seconds
        2.2
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def saw(self, seconds: float) -> None:
        """Learn from a request."""
        self.seconds += (seconds - self.seconds) * (_SMOOTHING if self.seconds else 1.0)

    def skipped(self) -> None:
        """Forget a little, so that one slow moment does not degrade all requests after it."""
        self.seconds *= 1 - _SMOOTHING


class Progress:
    """Watches a request; see :class:`~interactrank.serving.watch.Watch`.

    Args:
        timeout: seconds from now to the deadline.
        cost: of cross features.

    Attributes:
        stages: stage -> seconds that it took, in their order.
        given_up: nobody waits for it any more.
    """

    def __init__(self, timeout: float, cost: CrossCost) -> None:
        self.arrived = time.perf_counter()
        self.deadline = self.arrived + timeout
        self.stages: dict[str, float] = {}
        self.given_up = False
        self._cost = cost
        self._stage, self._since = "body", self.arrived
        self._ready: tuple[Tensor, Callable[[Tensor], Ranking]] | None = None

    @property
    def left(self) -> float:
        """Seconds to the deadline."""
        return self.deadline - time.perf_counter()

    @property
    def taken(self) -> float:
        """Seconds since it arrived."""
        return time.perf_counter() - self.arrived

    def allow(self, timeout_ms: float | None) -> None:
        """Set the deadline that the request asks for, counted from its arrival."""
        if timeout_ms is not None:
            self.deadline = self.arrived + timeout_ms / 1000

    def begin(self, stage: str) -> None:
        """Hear that a stage begins."""
        now = time.perf_counter()
        took = now - self._since
        self.stages[self._stage] = self.stages.get(self._stage, 0.0) + took
        if self._stage == "cross_features":
            self._cost.saw(took)
        self._stage, self._since = stage, now

    def goes_on(self, dots: Tensor, rank: Callable[[Tensor], Ranking]) -> bool:
        """Return whether cross features fit before the deadline; keep the dot products for it."""
        if self.left < self._cost.seconds:
            self._cost.skipped()
            return False
        self._ready = dots.clone(), rank
        return True

    def partial(self) -> Ranking | None:
        """Return what is ready: the ranking by dot products; None before they are."""
        if self._ready is None:
            return None
        dots, rank = self._ready
        return rank(dots)


class Together:
    """Watches requests that are ranked together; see :class:`~interactrank.serving.watch.Watch`.

    Args:
        progress: of each.
    """

    def __init__(self, progress: Sequence[Progress]) -> None:
        self._progress, self._at = progress, -1

    def begin(self, stage: str) -> None:
        """Hear that a stage begins: of all, until the first one's candidates are read, then of one."""
        if stage == "candidates":
            self._at += 1
            if self._at == 0:
                for progress in self._progress:
                    progress.begin("others")
        some = self._progress if self._at < 0 else self._progress[self._at : self._at + 1]
        for progress in some:
            progress.begin(stage)

    def goes_on(self, dots: Tensor, rank: Callable[[Tensor], Ranking]) -> bool:
        """Return whether cross features of the request whose turn it is fit before its deadline."""
        return self._progress[self._at].goes_on(dots, rank)
