"""The command line of interactrank with faults built in: what :mod:`benchmarks.faults` starts on each rank.

A fault is a line of JSON in the file that ``INTERACTRANK_FAULTS`` names, such as
``{"rank": 1, "moment": "forward", "call": 7, "kind": "kill"}``: at the 7th forward of rank 1 the process
kills itself with SIGKILL. With ``"start": 2`` it waits for the second restart. A fault
strikes once, also over restarts: it leaves ``<file>.<line>`` behind, with the time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interactrank.cli import leave, main

MOMENTS = ("load", "forward", "backward", "update", "save", "rename", "retire", "barrier")
KINDS = ("kill", "term", "stop", "nan", "full")

_calls: Counter[str] = Counter()


def strike(moment: str) -> str | None:
    """Carries out the faults that are due at this call of a moment; the kind of one that is not deadly."""
    _calls[moment] += 1
    path = os.environ.get("INTERACTRANK_FAULTS")
    if path is None:
        return None
    rank, start = (int(os.environ.get(key, 0)) for key in ("RANK", "TORCHELASTIC_RESTART_COUNT"))
    for number, line in enumerate(Path(path).read_text().splitlines()):
        fault = json.loads(line)
        if (fault["rank"], fault["moment"], fault["call"]) != (rank, moment, _calls[moment]):
            continue
        if fault.get("start", start) != start:
            continue
        try:
            with Path(f"{path}.{number}").open("x") as mark:
                mark.write(str(time.time()))
        except FileExistsError:
            continue
        kind: str = fault["kind"]
        print(f"fault: rank {rank}, {moment} {fault['call']}, {kind}", file=sys.stderr, flush=True)
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif kind == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif kind == "full":
            raise OSError(28, "No space left on device")
        return kind
    return None


def before(owner: Any, name: str, moment: str) -> None:
    """Lets faults strike whenever a function is called."""
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        strike(moment)
        return original(*args, **kwargs)

    setattr(owner, name, call)


def install() -> None:
    """Puts the moments into the trainer."""
    from interactrank.checkpoint import store as checkpoint
    from interactrank.checkpoint import writer as storage
    from interactrank.data.loading import loader
    from interactrank.distributed import world as distributed
    from interactrank.training.optimizers import TrainingOptimizer
    from interactrank.training.pipeline import Forward

    collate: Callable[..., Any] = loader.collate

    def collate_or_not(*args: Any, **kwargs: Any) -> Any:
        kind = strike("load")
        batch = collate(*args, **kwargs)
        if kind == "nan":
            labels = batch.labels.clone()
            labels[0] = float("nan")
            batch = dataclasses.replace(batch, labels=labels)
        return batch

    forward = Forward.__call__

    def backward_or_not(self: Forward, batch: Any) -> Any:
        strike("forward")
        loss, outputs = forward(self, batch)
        loss.register_hook(lambda gradient: strike("backward") and None)
        return loss, outputs

    loader.collate = collate_or_not
    # The method is replaced on purpose: the fault strikes within it.
    Forward.__call__ = backward_or_not  # type: ignore[method-assign]
    before(TrainingOptimizer, "step", "update")
    before(storage._HashedFile, "write", "save")
    before(checkpoint, "fsync", "rename")  # the manifest is there and the folder has its name
    before(checkpoint, "_remove", "retire")
    before(distributed.dist, "all_gather_object", "barrier")


if __name__ == "__main__":
    install()
    leave(main())
