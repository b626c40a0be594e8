"""A thread that makes batches ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.loading.prefetch import prefetch


def threads() -> int:
    """Loader threads that are alive."""
    return sum(t.name == "interactrank-loader" for t in threading.enumerate())


def test_prefetch__hands_all_on_in_order() -> None:
    batches: Any = iter(range(50))
    assert list(prefetch(batches, 3)) == list(range(50))
    assert threads() == 0


def test_prefetch__raises_what_the_thread_raised() -> None:
    def work() -> Iterator[Any]:
        yield 1
        raise DatasetError("damaged")

    ahead = prefetch(work(), 2)
    assert next(ahead) == 1  # type: ignore[comparison-overlap]
    with pytest.raises(DatasetError, match="damaged"):
        next(ahead)
    assert threads() == 0


def test_prefetch__stops_when_its_consumer_stops() -> None:
    made: list[int] = []

    def work() -> Iterator[Any]:
        for n in range(10**9):
            made.append(n)
            yield n

    ahead = prefetch(work(), 2)
    assert next(ahead) == 0  # type: ignore[comparison-overlap]
    assert threads() == 1
    ahead.close()  # type: ignore[attr-defined]
    assert threads() == 0
    assert len(made) <= 5  # one handed out, two waiting, one offered, and one of luck
