"""Collectives of Python objects, and errors that reach every rank."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed as dist

from interactrank.core.errors import UserError

__all__ = ["RankError", "gather", "on_main", "say", "together"]

T = TypeVar("T")


class RankError(UserError, RuntimeError):
    """Another rank failed; the message names it and says why."""


def gather(value: T, group: dist.ProcessGroup | None = None) -> list[T]:
    """The ``value`` of every rank, in the order of the ranks, on every rank. All ranks must call it."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value, group=group)
    return values


@contextmanager
def together(doing: str, group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """A block without collectives that fails on all ranks if it fails on any.

    All ranks must enter it. Without it a rank that fails leaves the others waiting in their next collective.

    Args:
        doing: what the block does, for the message: ``reading the checkpoint``.
        group: all ranks, over connections of their own; for work in a thread.

    Raises:
        Exception: this rank's own error.
        RankError: another rank's, named.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    failures = gather(None if error is None else f"{type(error).__name__}: {error}", group)
    if error is not None:
        raise error
    for rank, failure in enumerate(failures):
        if failure is not None:
            raise RankError(f"rank {rank} failed while {doing}: {failure}")


def on_main(doing: str, function: Callable[[], T], group: dist.ProcessGroup | None = None) -> T:
    """Calls ``function`` on rank 0 alone and gives its result to every rank. All ranks must call it.

    Args:
        doing: what it does, for the message.
        function: called without arguments; must use no collectives, and its result must be picklable.
        group: as of :func:`together`.

    Raises:
        Exception: on rank 0, what ``function`` raised; on the others a :class:`RankError` that quotes it.
    """
    result: list[Any] = [None]
    with together(doing, group):
        if dist.get_rank() == 0:
            result[0] = function()
    dist.broadcast_object_list(result, src=0, group=group)
    return result[0]


def say(message: str) -> None:
    """Prints a line to stderr on rank 0."""
    if dist.get_rank() == 0:
        print(message, file=sys.stderr, flush=True)
