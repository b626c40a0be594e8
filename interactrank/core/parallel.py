"""in_order: the same work on many values by several threads; results come in the order of the values."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["cores", "in_order"]

Value = TypeVar("Value")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def in_order(work: Callable[[Value], Result], values: Iterable[Value], threads: int) -> Iterator[Result]:
    """Yield ``work(value)`` of each value, in the order of the values.

    At most ``threads + 1`` values are worked on or wait to be taken, so that memory does not grow with their
    number. Threads serve work whose time lies in NumPy, Arrow, DuckDB and other compiled code. An error of
    ``work`` is raised where its result would have come; values that are not begun by then are left.

    Args:
        work: called in a thread of its own, except with one thread, where nothing runs ahead.
        values: read in the caller's thread.
        threads: at least 1.

    Example::

        >>> list(in_order(lambda n: n * n, range(5), threads=2))
        [0, 1, 4, 9, 16]
    """
    if threads == 1:
        yield from map(work, values)
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "interactrank-work") as pool:
        try:
            for value in values:
                pending.append(pool.submit(work, value))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
