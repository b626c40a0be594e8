"""Ranks: the process group from torchrun's environment, and errors that reach every rank.

Without torchrun a process is a group of its own, so the same code trains in one process.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
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
        TrainingError: CUDA is asked for and there is no GPU for this rank; or torchrun may restart ranks of
            several machines, but would not let them find each other again.
        RankError: the connection to another rank broke while the block ran, and that rank's error says why;
            or a rank gave no answer for ``timeout_s``.

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
        dist.init_process_group(backend, timeout=timeout, **_meeting_place(timeout))
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
    world = current_world()
    try:
        yield world
    except RuntimeError as error:
        if (reason := _broken(error, timeout_s)) is None:
            raise
        raise RankError(f"rank {world.rank}: {reason}") from error
    finally:
        dist.destroy_process_group()
        _forget_machines()


def _meeting_place(timeout: datetime.timedelta) -> dict[str, Any]:
    """Where ranks exchange their addresses: a fresh place for each start of the ranks by torchrun.

    In torch 2.13 torchrun keeps one store for all starts. Ranks that it restarts find the addresses of their
    killed predecessors in it, and fail or wait for ever.
    """
    environment = os.environ
    kept = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not kept or int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0)) == 0:
        return {}
    if int(environment.get("GROUP_WORLD_SIZE", 1)) > 1:  # machines count their restarts each for itself
        raise TrainingError(
            "torchrun may restart the ranks of several machines (--max-restarts), but they would meet at "
            "addresses of ranks that are gone: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's "
            "environment on every machine (the component `train` does)"
        )
    store = dist.TCPStore(
        environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False, timeout=timeout
    )
    return {
        "store": dist.PrefixStore(f"start_{environment['TORCHELASTIC_RESTART_COUNT']}", store),
        "rank": int(environment["RANK"]),
        "world_size": int(environment["WORLD_SIZE"]),
    }


def _broken(error: RuntimeError, timeout_s: int) -> str | None:
    """What gloo's error says about another rank; None where the error is about something else."""
    if isinstance(error, UserError):
        return None
    text = str(error)
    if any(sign in text for sign in ("closed by peer", "reset by peer", "Broken pipe")):
        return "another rank stopped; its own error says why"
    if "Timed out waiting" not in text and "Application timeout" not in text:
        return None
    silent = silent_ranks()
    who = f"rank {', '.join(map(str, silent))}" if silent else "another rank"
    return (
        f"{who} gave no answer for {timeout_s} s: it hangs, or is that much slower. Look at what it does "
        "(for instance with py-spy dump), and raise training.timeout_s if a step may rightly take that long"
    )


def silent_ranks(patience_s: float = 2.0) -> list[int]:
    """Ranks that do not call this at about the same time; none where the ranks' meeting place is gone, too.

    Called after a collective ran into its timeout, when ranks cannot talk to each other by collectives.
    """
    try:
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=datetime.timedelta(seconds=5),
            wait_for_workers=False,
        )
        keys = [
            f"interactrank/late/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{rank}"
            for rank in range(dist.get_world_size())
        ]
        store.set(keys[dist.get_rank()], "1")
        time.sleep(patience_s)
        return [rank for rank, key in enumerate(keys) if not store.check([key])]
    except (KeyError, RuntimeError):
        return []


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
