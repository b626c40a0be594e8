"""Ranks for the benchmarks: processes with one thread each, which wait between calls.

They open one process group and keep what they have built, so that several sets of ranks can take turns.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol

import torch
import torch.distributed as dist

from benchmarks.harness import Samples, Step, measured
from interactrank.distributed.collectives import all_gather_objects
from interactrank.distributed.world import current_world

# What a rank has built: name -> step. Of a process that is a rank; elsewhere empty.
STEPS: dict[str, Step] = {}


class Ranks(Protocol):
    """Ranks that can be told what to do."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Calls a function of a module on all ranks at once; its results, rank by rank."""


class Workers:
    """``size`` ranks on this machine, on CPU; use it in a ``with`` block, which ends them.

    Args:
        size: number of ranks.
        apart: whether each is the only rank of a job of its own; they then work at the same time and
            exchange nothing.
    """

    def __init__(self, size: int, *, apart: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        ports = _free_ports(size)
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(size):
            here, there = context.Pipe()
            place = (0, 1, ports[rank]) if apart else (rank, size, ports[0])
            process = context.Process(target=_serve, args=(*place, there), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            if error is None and process.is_alive():
                pipe.send(None)
            else:  # it may wait for a rank that failed
                process.kill()
        for process in self._processes:
            process.join()

    def call(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Calls a function of a module on all ranks at once; its results, rank by rank.

        Raises:
            RuntimeError: a rank failed; quotes its traceback.
        """
        for pipe in self._pipes:
            pipe.send((function, arguments))
        found: dict[int, Any] = {}
        while len(found) < len(self._pipes):
            ready = wait([pipe for rank, pipe in enumerate(self._pipes) if rank not in found])
            for rank, pipe in enumerate(self._pipes):
                if pipe not in ready:
                    continue
                try:
                    good, found[rank] = pipe.recv()
                except EOFError:
                    raise RuntimeError(f"rank {rank} died") from None
                if not good:
                    raise RuntimeError(f"rank {rank} failed:\n{found[rank]}")
        return [found[rank] for rank in range(len(self._pipes))]


class JobRanks:
    """The ranks of the job that this process is one of: rank 0 calls, the others serve it.

    A rank that fails ends its process, and its launcher ends the others.
    """

    def call(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Of rank 0: calls a function of a module on all ranks at once; its results, rank by rank."""
        dist.broadcast_object_list([(function, arguments)], src=0)
        return all_gather_objects(function(*arguments))

    def end(self) -> None:
        """Of rank 0: lets the others go."""
        dist.broadcast_object_list([None], src=0)

    def serve(self) -> None:
        """Of the others: does what rank 0 calls, until it ends."""
        while True:
            told: list[Any] = [None]
            dist.broadcast_object_list(told, src=0)
            if told[0] is None:
                return
            function, arguments = told[0]
            all_gather_objects(function(*arguments))


def take_turns(ranks: Mapping[str, Ranks], rounds: int, warmup: int) -> dict[str, Samples]:
    """Measures steps in turns, each once per round, in reversed order every second round.

    A set of ranks waits while another one works. A call has taken as long as the slowest rank's; its CPU time
    is that of the rank with the most.

    Args:
        ranks: name of a step -> ranks that have built it.
        rounds: measurements of each.
        warmup: calls before them.
    """
    samples = {name: Samples() for name in ranks}
    for number in range(-warmup, rounds):
        for name in ranks if number % 2 == 0 else reversed(list(ranks)):
            found = ranks[name].call(sample, name)
            if number >= 0:
                samples[name].wall.append(max(wall for wall, _ in found))
                samples[name].cpu.append(max(cpu for _, cpu in found))
    return samples


def sample(name: str) -> tuple[float, float]:
    """Seconds of a step that this rank has built, on the wall clock and of CPU time."""
    into = Samples()
    with measured(into, current_world().device):
        STEPS[name]()
    return into.wall[0], into.cpu[0]


def slowest(found: list[dict[str, Samples]]) -> dict[str, Samples]:
    """The samples of several ranks as one: of each round the longest time."""
    return {
        name: Samples(
            wall=[max(times) for times in zip(*(of[name].wall for of in found), strict=True)],
            cpu=[max(times) for times in zip(*(of[name].cpu for of in found), strict=True)],
        )
        for name in found[0]
    }


def _free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [int(free.getsockname()[1]) for free in sockets]


def _serve(rank: int, size: int, port: int, pipe: Connection) -> None:
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(size),
        LOCAL_RANK=str(rank),
        LOCAL_WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    from interactrank.distributed.world import process_group

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # as in the harness
    with process_group("cpu"):
        while (call := pipe.recv()) is not None:
            function, arguments = call
            try:
                pipe.send((True, function(*arguments)))
            except BaseException:
                pipe.send((False, traceback.format_exc()))
