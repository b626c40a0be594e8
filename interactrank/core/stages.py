"""stage: how long the parts of a long job take, for ``--verbose`` and for benchmarks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stage", "stages_to"]

logger = logging.getLogger(__name__)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Log for debugging how many seconds, and seconds of CPU of all threads, the body takes.

    Example::

        >>> with stages_to({}) as found, stage("sums"):
        ...     _ = sum(range(1000))
        >>> list(found), len(found["sums"])
        (['sums'], 2)
    """
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    taken = time.perf_counter() - wall, time.process_time() - cpu
    logger.debug("%s: %.2f s, %.2f s of CPU", name, *taken, extra={"stage": (name, *taken)})


@contextmanager
def stages_to(found: dict[str, tuple[float, float]]) -> Iterator[dict[str, tuple[float, float]]]:
    """Note in ``found`` what stages take in the body: name -> (seconds, seconds of CPU)."""
    handler = _Collect(found)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Collect(logging.Handler):
    def __init__(self, found: dict[str, tuple[float, float]]) -> None:
        super().__init__()
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        name, wall, cpu = record.__dict__["stage"]
        before = self.found.get(name, (0.0, 0.0))
        self.found[name] = before[0] + wall, before[1] + cpu
