"""Ranks: the process group from torchrun's environment, and errors that reach every rank.

Without torchrun a process is a group of its own, so the same code trains in one process.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.distributed as dist

from interactrank.core.errors import TrainingError
from interactrank.distributed.collectives import RankError
from interactrank.distributed.failures import broken
from interactrank.distributed.rendezvous import rendezvous_arguments

__all__ = ["World", "current_world", "process_group"]

T = TypeVar("T")


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
        TrainingError: CUDA is asked for and there is no GPU for this rank; or torchrun may restart ranks of
            several machines, but would not let them find each other again.
        RankError: the connection to another rank broke while the block ran, and that rank's error says why;
            or a rank gave no answer for ``timeout_s``.

    Example::

        >>> with process_group("cpu") as world:
        ...     world.rank, world.size, world.device
        (0, 1, device(type='cpu'))
    """
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
        dist.init_process_group(backend, timeout=timeout, **rendezvous_arguments(timeout))
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
    world = current_world()
    try:
        yield world
    except RuntimeError as error:
        if (reason := broken(error, timeout_s)) is None:
            raise
        raise RankError(f"rank {world.rank}: {reason}") from error
    finally:
        dist.destroy_process_group()
        _forget_machines()


def _forget_machines() -> None:
    """Lets a later group of this process find its own machines; TorchRec keeps those of the first."""
    comm = sys.modules.get("torchrec.distributed.comm")
    if comm is not None:
        # Private to TorchRec, and untyped there as None only.
        comm._INTRA_PG = comm._CROSS_PG = None  # type: ignore[attr-defined]


def current_world() -> World:
    """This process's place in the process group that is open.

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
