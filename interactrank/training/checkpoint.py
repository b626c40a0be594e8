"""Checkpoints of a sharded run: written whole or not at all, checked before use, resumed on any ranks.

A checkpoint is a folder ``step_<n>`` of torch.distributed.checkpoint files (each rank writes its parts of
the tables) and a ``manifest.json``: the position in the data, the names and shapes of everything saved, and
the size and SHA-256 of every file. It is written under a temporary name and renamed when all of it is on
disk, so the newest folder with a manifest is complete. All ranks must see the same file system.

The ``.metadata`` file of torch.distributed.checkpoint is a pickle: a checkpoint is to be trusted like code.
Its checksum is compared before it is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import KeyedOptimizer

from interactrank.files import atomic_write_text
from interactrank.training.distributed import current_world, gather, on_main, together

__all__ = ["CheckpointError", "CheckpointStore", "Position"]

_VERSION = 1
_MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the first thing that is wrong with it."""


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
        files = _digests(temporary, world.rank, world.size)
        manifest = {
            "version": _VERSION,
            "position": asdict(position),
            "world_size": world.size,
            "sharding": _sharding(dmp),
            "contents": _contents(state),
            "files": files,
        }

        def finish() -> None:
            atomic_write_text(temporary / _MANIFEST, json.dumps(manifest, indent=1))
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
            manifest = _read_manifest(path)
            _verify(path, sorted(manifest["files"].items())[world.rank :: world.size])
        state = _state(dmp, optimizer)
        contents = _contents(state)
        with together(f"comparing the checkpoint {path}"):
            _compare(path, manifest, contents, _sharding(dmp))
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
        return sorted(path.parent for path in self.folder.glob(f"step_*/{_MANIFEST}"))

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


def _contents(state: dict[str, Any]) -> dict[str, list]:
    """Name -> [shape, dtype] of every tensor that any rank holds a part of."""

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}/{key}" if prefix else str(key), inner)
        elif hasattr(value, "size") and hasattr(value, "dtype"):
            mine[prefix] = [list(value.size()), str(value.dtype)]

    mine: dict[str, list] = {}
    walk("", {part: state[part] for part in ("model", "optimizer")})
    everyone: dict[str, list] = {}
    for theirs in gather(mine):
        everyone.update(theirs)
    return dict(sorted(everyone.items()))


def _sharding(dmp: DistributedModelParallel) -> dict[str, str]:
    """``collection.table`` -> sharding type."""
    return {
        f"{path}.{table}": of.sharding_type
        for path, sharding in dmp.plan.plan.items()
        for table, of in sharding.items()
    }


def _compare(
    path: Path, manifest: dict[str, Any], contents: dict[str, list], sharding: dict[str, str]
) -> None:
    saved = manifest["contents"]
    for key in sorted({*saved, *contents}):
        theirs, mine = saved.get(key), contents.get(key)
        if theirs == mine:
            continue
        if theirs is None:
            what = f"'{key}' is in this run but not in the checkpoint"
        elif mine is None:
            what = f"'{key}' is in the checkpoint but not in this run"
        else:
            what = f"'{key}' is {_say(theirs)} in the checkpoint and {_say(mine)} in this run"
        for table, kind in sharding.items():
            was = manifest["sharding"].get(table)
            if key.startswith("optimizer/") and f"/{table.rpartition('.')[2]}.momentum" in key:
                what += (
                    f". Table {table} was {was} on {manifest['world_size']} ranks and is {kind} on "
                    f"{dist.get_world_size()}; the state of a column-wise or replicated table only fits the "
                    "same layout. Keep the layout and the ranks"
                )
                break
        else:
            what += ". Train with the settings that made it, or give another output folder"
        raise CheckpointError(f"{path} does not fit this run: {what}")


def _say(entry: list) -> str:
    shape, dtype = entry
    return f"{dtype.removeprefix('torch.')} {' x '.join(map(str, shape)) or 'scalar'}"


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        version = manifest["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: no readable {_MANIFEST} ({error}); {_remedy(path)}") from error
    if version != _VERSION:
        raise CheckpointError(
            f"{path}: format version {version}, but this release reads {_VERSION}; resume with the release "
            "that wrote it"
        )
    return manifest


def _verify(path: Path, files: list[tuple[str, dict[str, Any]]]) -> None:
    for name, expected in files:
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file} is missing; {_remedy(path)}")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise CheckpointError(f"{file} has {size} bytes instead of {expected['bytes']}; {_remedy(path)}")
        if _sha256(file) != expected["sha256"]:
            raise CheckpointError(f"{file} has changed since it was written (SHA-256); {_remedy(path)}")


def _remedy(path: Path) -> str:
    return f"delete the folder {path.name} to resume from the checkpoint before it"


def _digests(folder: Path, rank: int, size: int) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file of a folder; each rank reads its share."""
    mine: dict[str, dict[str, Any]] = {}
    with together("reading the checkpoint back"):
        names = sorted(file.name for file in folder.iterdir())
        for name in names[rank::size]:
            mine[name] = {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
    everyone: dict[str, dict[str, Any]] = {}
    for theirs in gather(mine):
        everyone.update(theirs)
    return dict(sorted(everyone.items()))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
