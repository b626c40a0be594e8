"""Work by several threads: results in order, no more ahead than promised, errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from interactrank.core.parallel import cores, in_order


def test_cores__at_least_one() -> None:
    assert cores() >= 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_in_order__whoever_finishes_first(threads: int) -> None:
    """The first value of two waits for the second, so that with two threads or more they finish backwards."""
    second = threading.Event()

    def work(n: int) -> int:
        if n == 0 and threads > 1:
            assert second.wait(30)
        if n == 1:
            second.set()
        return n * n

    assert list(in_order(work, range(7), threads)) == [n * n for n in range(7)]


@pytest.mark.parametrize("threads", [1, 2])
def test_in_order__few_values_are_ahead(threads: int) -> None:
    taken = []

    def values() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    results = in_order(lambda n: n, values(), threads)
    for n in range(100):
        assert next(results) == n
        assert len(taken) <= n + (threads + 1 if threads > 1 else 1)


def test_in_order__one_thread_is_the_callers() -> None:
    assert list(in_order(lambda _: threading.get_ident(), [0], 1)) == [threading.get_ident()]


@pytest.mark.parametrize("threads", [1, 2])
def test_in_order__an_error_comes_in_its_place(threads: int) -> None:
    begun = []

    def work(n: int) -> int:
        begun.append(n)
        if n == 3:
            raise ValueError("three")
        return n

    results = in_order(work, range(100), threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(begun) < 10
    assert not [t for t in threading.enumerate() if t.name.startswith("interactrank-work")]
