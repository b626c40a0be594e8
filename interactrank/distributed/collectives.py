"""Collectives of Python objects, and errors that reach every rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed as dist

from interactrank.distributed.errors import RankError

__all__ = ["all_gather_objects", "raise_on_all_ranks", "run_on_rank0"]

T = TypeVar("T")


def all_gather_objects(value: T, group: dist.ProcessGroup | None = None) -> list[T]:
    """Return the ``value`` of every rank, in the order of the ranks. All ranks must call it."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value, group=group)
    return values


@contextmanager
def raise_on_all_ranks(doing: str, group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Run a block without collectives that fails on all ranks if it fails on any.

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
    failures = all_gather_objects(None if error is None else f"{type(error).__name__}: {error}", group)
    if error is not None:
        raise error
    for rank, failure in enumerate(failures):
        if failure is not None:
            raise RankError(f"rank {rank} failed while {doing}: {failure}")


def run_on_rank0(doing: str, function: Callable[[], T], group: dist.ProcessGroup | None = None) -> T:
    """Call ``function`` on rank 0 alone and return its result on every rank. All ranks must call it.

    Args:
        doing: what it does, for the message.
        function: called without arguments; must use no collectives, and its result must be picklable.
        group: see :func:`raise_on_all_ranks`.

    Raises:
        Exception: on rank 0, what ``function`` raised; on the others a :class:`RankError` that quotes it.
    """
    result: list[Any] = [None]
    with raise_on_all_ranks(doing, group):
        if dist.get_rank() == 0:
            result[0] = function()
    dist.broadcast_object_list(result, src=0, group=group)
    return result[0]
