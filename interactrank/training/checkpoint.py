"""Checkpoints of a sharded run: written whole or not at all, checked before use, resumed on any ranks.

A checkpoint is a folder ``step_<n>`` of torch.distributed.checkpoint files (each rank writes its parts of
the tables) and a ``manifest.json``: the position in the data, the names and shapes of everything saved, and
the size and SHA-256 of every file. It is written under a temporary name and renamed when all of it is on
disk, so the newest folder with a manifest is complete. All ranks must see the same file system.

The ``.metadata`` file of torch.distributed.checkpoint is a pickle: a checkpoint is to be trusted like code.
Its checksum is compared before it is opened.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import KeyedOptimizer

from interactrank.files import atomic_write_text
from interactrank.training.distributed import current_world, on_main, together
from interactrank.training.manifest import (
    MANIFEST,
    VERSION,
    CheckpointError,
    compare,
    contents,
    digests,
    read_manifest,
    verify,
)

__all__ = ["CheckpointStore", "Position"]


@dataclass(frozen=True)
class Position:
    """How far a run has come.

    Attributes:
        step: steps done.
        epoch: pass over the data in which the next step lies, from 0.
        epoch_step: steps of that pass that are done.
        steps_per_epoch: steps of a pass, on the number of ranks that ran it.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    steps_per_epoch: int = 1


class CheckpointStore:
    """The checkpoints of one run. All ranks must call each method, at the same step.

    Args:
        folder: where the checkpoints lie; made when the first is saved.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def latest(self) -> Path | None:
        """The newest complete checkpoint, or None; unfinished ones do not count."""
        found = on_main("looking for checkpoints", self._complete)
        return found[-1] if found else None

    def save(self, dmp: DistributedModelParallel, optimizer: KeyedOptimizer, position: Position) -> Path:
        """Saves model, optimizer state, random state and position as ``step_<n>``; then drops the oldest.

        Raises:
            CheckpointError: a file cannot be written, on any rank; earlier checkpoints stay as they were.
            OSError: likewise, for the manifest (on other ranks a RankError that quotes it).
        """
        world = current_world()
        final = self.folder / f"step_{position.step:010d}"
        temporary = self.folder / f".unfinished_{final.name}"
        on_main("preparing the checkpoint's folder", lambda: self._prepare(temporary))
        state = _state(dmp, optimizer)
        state["rng"] = _rng_state(world.rank)
        _storage(f"writing {temporary}", lambda: dcp.save(state, checkpoint_id=temporary))
        files = digests(temporary, world.rank, world.size)
        manifest = {
            "version": VERSION,
            "position": asdict(position),
            "world_size": world.size,
            "sharding": _sharding(dmp),
            "contents": contents(state),
            "files": files,
        }

        def finish() -> None:
            atomic_write_text(temporary / MANIFEST, json.dumps(manifest, indent=1))
            if final.exists():
                shutil.rmtree(final)
            os.rename(temporary, final)
            _sync(self.folder)
            for old in self._complete()[: -self.keep]:
                shutil.rmtree(old)

        on_main("finishing the checkpoint", finish)
        return final

    def load(self, path: Path, dmp: DistributedModelParallel, optimizer: KeyedOptimizer) -> Position:
        """Fills model and optimizer from a checkpoint, after every check has passed.

        The number of ranks and the sharding may differ from those at saving. The random state comes back
        where the number of ranks is the same.

        Args:
            path: a folder that :meth:`save` made.
            dmp: the sharded model.
            optimizer: of :func:`~interactrank.training.optimizers.build_optimizer`.

        Returns:
            Where the run was.

        Raises:
            CheckpointError: a file is missing, truncated or changed, or the checkpoint is of another model.
        """
        world = current_world()
        manifest: dict[str, Any] = {}
        with together(f"checking the checkpoint {path}"):
            manifest = read_manifest(path)
            verify(path, sorted(manifest["files"].items())[world.rank :: world.size])
        state = _state(dmp, optimizer)
        expected = contents(state)
        with together(f"comparing the checkpoint {path}"):
            compare(path, manifest, expected, _sharding(dmp))
        same_ranks = manifest["world_size"] == world.size
        if same_ranks:
            state["rng"] = _rng_state(world.rank)
        _storage(f"reading {path}", lambda: dcp.load(state, checkpoint_id=path))
        dmp.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if same_ranks:
            _set_rng_state(state["rng"], world.rank)
        return Position(**manifest["position"])

    def _complete(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob(f"step_*/{MANIFEST}"))

    def _prepare(self, temporary: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.folder.glob(".unfinished_*"):
            shutil.rmtree(unfinished)
        temporary.mkdir()


def _storage(doing: str, call: Callable[[], object]) -> None:
    try:
        call()
    except CheckpointException as error:  # a BaseException, raised on all ranks
        reasons = "; ".join(
            f"rank {rank}: {type(e).__name__}: {e}" for rank, (e, _) in error.failures.items()
        )
        raise CheckpointError(f"{doing} failed: {reasons}") from error


def _state(dmp: DistributedModelParallel, optimizer: KeyedOptimizer) -> dict[str, Any]:
    return {"model": dmp.state_dict(), "optimizer": optimizer.state_dict()}


def _rng_state(rank: int) -> dict[str, torch.Tensor]:
    state = {f"cpu_{rank}": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state[f"cuda_{rank}"] = torch.cuda.get_rng_state()
    return state


def _set_rng_state(state: dict[str, torch.Tensor], rank: int) -> None:
    torch.set_rng_state(state[f"cpu_{rank}"])
    if f"cuda_{rank}" in state:
        torch.cuda.set_rng_state(state[f"cuda_{rank}"])


def _sharding(dmp: DistributedModelParallel) -> dict[str, str]:
    """``collection.table`` -> sharding type."""
    return {
        f"{path}.{table}": of.sharding_type
        for path, sharding in dmp.plan.plan.items()
        for table, of in sharding.items()
    }


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
