"""Runs a function on several gloo ranks: errors come back with their traceback, and a hang is ended."""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import queue
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

TIMEOUT_S = 240.0
_GRACE_S = 20.0  # after a rank failed, the others either notice or hang


class RankFailure(AssertionError):
    """A rank raised, died or hung."""


class _Ranks:
    """Processes that wait for work; starting them (importing torch and torchrec) is what takes long."""

    def __init__(self, size: int) -> None:
        context = mp.get_context("spawn")
        self.results: Any = context.Queue()
        self.tasks: list[Any] = [context.Queue() for _ in range(size)]
        self.processes = [
            context.Process(target=_work, args=(rank, size, self.tasks[rank], self.results), daemon=True)
            for rank in range(size)
        ]
        for process in self.processes:
            process.start()

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


_idle: dict[int, _Ranks] = {}


def run_ranks(world_size: int, fn: Callable[..., Any], *args: Any, timeout_s: float = TIMEOUT_S) -> list[Any]:
    """Calls ``fn(*args)`` on ``world_size`` processes, with a process group open around it.

    ``fn`` must be importable (defined at the top of a test module), and its arguments and results picklable.
    The processes serve later calls, too, unless one failed; each call has a process group of its own.

    Returns:
        The result of each rank.

    Raises:
        RankFailure: a rank raised (its traceback is quoted), died, or was not done after ``timeout_s``. No
            process of this call is left behind then.
    """
    ranks = _idle.pop(world_size, None) or _Ranks(world_size)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    for task in ranks.tasks:
        task.put((port, pickle.dumps((fn, args))))
    done: dict[int, Any] = {}
    failed: dict[int, str] = {}
    deadline = time.monotonic() + timeout_s
    while len(done) + len(failed) < world_size:
        try:
            rank, ok, value = ranks.results.get(timeout=0.2)
            if ok:
                done[rank] = pickle.loads(value)
            else:
                failed[rank] = value
        except queue.Empty:
            for rank, process in enumerate(ranks.processes):
                if rank not in {*done, *failed} and not process.is_alive():
                    failed[rank] = f"died with exit code {process.exitcode}"
        if failed:
            deadline = min(deadline, time.monotonic() + _GRACE_S)
        if time.monotonic() > deadline:
            for rank in set(range(world_size)) - {*done, *failed}:
                failed[rank] = f"hung: not done after {timeout_s:g} s, or {_GRACE_S:g} s after another failed"
    if failed:
        ranks.kill()
        raise RankFailure("\n".join(f"--- rank {rank}\n{text}" for rank, text in sorted(failed.items())))
    _idle[world_size] = ranks
    return [done[rank] for rank in range(world_size)]


def _work(rank: int, size: int, tasks: Any, results: Any) -> None:
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(size),
        LOCAL_RANK=str(rank),
        LOCAL_WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        OMP_NUM_THREADS="1",
    )
    import torch

    from interactrank.distributed.world import process_group

    torch.set_num_threads(1)
    while True:
        port, call = tasks.get()
        os.environ["MASTER_PORT"] = str(port)
        try:
            with process_group("cpu", timeout_s=120):
                fn, args = pickle.loads(call)
                value = pickle.dumps(fn(*args))
            results.put((rank, True, value))
        except BaseException:
            results.put((rank, False, traceback.format_exc()))
