"""Ranks: the process group from torchrun's environment, and errors that reach every rank.

Without torchrun a process is a group of its own, so the same code trains in one process.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist

from interactrank.errors import UserError
from interactrank.training.errors import TrainingError
from interactrank.training.quiet import quiet

__all__ = ["RankError", "World", "current_world", "gather", "on_main", "process_group", "say", "together"]

T = TypeVar("T")


class RankError(UserError, RuntimeError):
    """Another rank failed; the message names it and says why."""


@dataclass(frozen=True)
class World:
    """Who this process is among the ranks of the job.

    Attributes:
        rank: 0..size-1.
        size: ranks of the whole job.
        local_rank: 0..local_size-1, rank on this machine.
        local_size: ranks on this machine.
        device: where this rank computes.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints and writes the files that exist once."""
        return self.rank == 0


@contextmanager
def process_group(device: Literal["auto", "cpu", "cuda"] = "auto", timeout_s: int = 1800) -> Iterator[World]:
    """Joins the ranks that torchrun started (one rank without torchrun), and leaves them at the end.

    A group that exists already is used as it is and left open.

    Args:
        device: ``cuda`` computes on GPU number ``LOCAL_RANK`` with NCCL, ``cpu`` with gloo; ``auto`` takes
            CUDA where there is a GPU.
        timeout_s: a rank waits so long for the others in a collective, then fails.

    Yields:
        This process's place among the ranks.

    Raises:
        TrainingError: CUDA is asked for and there is no GPU for this rank.
        RankError: the connection to another rank broke while the block ran; that rank's error says why.

    Example::

        >>> with process_group("cpu") as world:
        ...     world.rank, world.size, world.device
        (0, 1, device(type='cpu'))
    """
    quiet()
    if dist.is_initialized():
        yield current_world()
        return
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if device == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise TrainingError(
                f"device cuda: rank {os.environ.get('RANK', 0)} needs GPU {local_rank}, but this machine "
                f"shows {torch.cuda.device_count()}; start fewer processes, or set training.device to cpu"
            )
        torch.cuda.set_device(local_rank)
    timeout = datetime.timedelta(seconds=timeout_s)
    # Objects and checkpoints travel over gloo even where tensors go over NCCL.
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend, timeout=timeout)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
    world = current_world()
    try:
        yield world
    except RuntimeError as error:
        if "Connection closed by peer" not in str(error) and "Connection reset by peer" not in str(error):
            raise
        raise RankError(f"rank {world.rank}: another rank stopped; its own error says why") from error
    finally:
        dist.destroy_process_group()


def current_world() -> World:
    """This process's place in the process group that is open.

    Raises:
        RuntimeError: there is none.
    """
    if not dist.is_initialized():
        raise RuntimeError(
            "no process group: wrap the call in `with interactrank.training.process_group():`, "
            "which also serves a single process"
        )
    size = dist.get_world_size()
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    cuda = "nccl" in str(dist.get_backend_config())
    return World(
        rank=dist.get_rank(),
        size=size,
        local_rank=local_rank,
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", size)),
        device=torch.device("cuda", local_rank) if cuda else torch.device("cpu"),
    )


def gather(value: T) -> list[T]:
    """The ``value`` of every rank, in the order of the ranks, on every rank. All ranks must call it."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


@contextmanager
def together(doing: str) -> Iterator[None]:
    """A block without collectives that fails on all ranks if it fails on any.

    All ranks must enter it. Without it a rank that fails leaves the others waiting in their next collective.

    Args:
        doing: what the block does, for the message: ``reading the checkpoint``.

    Raises:
        Exception: this rank's own error.
        RankError: another rank's, named.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    failures = gather(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    for rank, failure in enumerate(failures):
        if failure is not None:
            raise RankError(f"rank {rank} failed while {doing}: {failure}")


def on_main(doing: str, function: Callable[[], T]) -> T:
    """Calls ``function`` on rank 0 alone and gives its result to every rank. All ranks must call it.

    Args:
        doing: what it does, for the message.
        function: called without arguments; must use no collectives, and its result must be picklable.

    Raises:
        Exception: on rank 0, what ``function`` raised; on the others a :class:`RankError` that quotes it.
    """
    result: list[Any] = [None]
    with together(doing):
        if dist.get_rank() == 0:
            result[0] = function()
    dist.broadcast_object_list(result, src=0)
    return result[0]


def say(message: str) -> None:
    """Prints a line to stderr on rank 0."""
    if dist.get_rank() == 0:
        print(message, file=sys.stderr, flush=True)
