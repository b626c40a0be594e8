"""The process group of a job, from torchrun's environment.

Without torchrun a process is a group of its own, so the same code trains in one process.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist

from interactrank.distributed.errors import ProcessGroupError, RankError
from interactrank.distributed.failures import explain_gloo_error
from interactrank.distributed.rendezvous import rendezvous_arguments

__all__ = ["World", "at_group_end", "current_world", "process_group"]

_at_end: list[Callable[[], None]] = []
"""What is called when the group that :func:`process_group` opened is closed."""


@dataclass(frozen=True)
class World:
    """This process's place among the ranks of the job.

    Attributes:
        rank: 0..size-1.
        size: ranks of the whole job.
        local_rank: 0..local_size-1, rank on this node.
        local_size: ranks on this node.
        device: device on which this rank computes.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints, and writes the files that exist once."""
        return self.rank == 0


@contextmanager
def process_group(device: Literal["auto", "cpu", "cuda"] = "auto", timeout_s: int = 1800) -> Iterator[World]:
    """Join the ranks that torchrun started (one rank without torchrun), and leave them at the end.

    A group that exists already is used as it is and left open.

    Args:
        device: ``cuda`` computes on GPU number ``LOCAL_RANK`` with NCCL, ``cpu`` with gloo; ``auto`` takes
            CUDA if there is a GPU.
        timeout_s: timeout of collectives in seconds.

    Yields:
        This process's place among the ranks.

    Raises:
        ProcessGroupError: CUDA is asked for and there is no GPU for this rank; or torchrun may restart
        ranks of
            several nodes, but would not let them find each other again.
        RankError: the connection to another rank broke while the block ran, and that rank's error says why;
            or a rank did not respond within ``timeout_s``.

    Example::

        >>> with process_group("cpu") as world:
        ...     world.rank, world.size, world.device
        (0, 1, device(type='cpu'))
    """
    if dist.is_initialized():
        yield current_world()
        return
    _open(device, timeout_s)
    world = current_world()
    try:
        yield world
    except RuntimeError as error:
        if (reason := explain_gloo_error(error, timeout_s)) is None:
            raise
        raise RankError(f"rank {world.rank}: {reason}") from error
    finally:
        dist.destroy_process_group()
        while _at_end:
            _at_end.pop()()


def _open(device: str, timeout_s: int) -> None:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if device == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise ProcessGroupError(
                f"device cuda: rank {os.environ.get('RANK', 0)} needs GPU {local_rank}, but this node shows "
                f"{torch.cuda.device_count()}; start fewer processes, or set training.device to cpu"
            )
        torch.cuda.set_device(local_rank)
    timeout = datetime.timedelta(seconds=timeout_s)
    # Objects and checkpoints travel over gloo even if tensors go over NCCL.
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend, timeout=timeout, **rendezvous_arguments(timeout))
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)


def at_group_end(function: Callable[[], None]) -> None:
    """Call a function when :func:`process_group` closes its group; once, however often it was registered.

    A group that was opened by other means calls nothing.

    Args:
        function: called without arguments after the group was destroyed; must use no collectives.
    """
    if function not in _at_end:
        _at_end.append(function)


def current_world() -> World:
    """Return this process's place in the process group that is open.

    Raises:
        RuntimeError: there is none.
    """
    if not dist.is_initialized():
        raise RuntimeError(
            "no process group: wrap the call in `with interactrank.distributed.process_group():`, "
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
