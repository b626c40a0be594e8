"""A checkpoint's manifest, and whether its files and a run agree with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch.distributed as dist

from interactrank.core.errors import UserError
from interactrank.core.manifest import MANIFEST, Manifest, ManifestError
from interactrank.distributed.collectives import all_gather_objects

__all__ = ["VERSION", "CheckpointError", "compare", "complete_checkpoints", "contents", "read", "verify"]

VERSION = 4


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be used; the message names the first thing that is wrong with it."""


def contents(state: dict[str, Any]) -> dict[str, list]:
    """Return name -> [shape, dtype] of every tensor that any rank holds a part of. All ranks must call it."""

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}/{key}" if prefix else str(key), inner)
        elif hasattr(value, "size") and hasattr(value, "dtype"):
            mine[prefix] = [list(value.size()), str(value.dtype)]

    mine: dict[str, list] = {}
    walk("", {part: state[part] for part in ("model", "optimizer")})
    everyone: dict[str, list] = {}
    for theirs in all_gather_objects(mine):
        everyone.update(theirs)
    return dict(sorted(everyone.items()))


def compare(path: Path, manifest: Manifest, expected: dict[str, list], sharding: dict[str, str]) -> None:
    """Check that a checkpoint holds what this run needs.

    Args:
        path: of the checkpoint, for the message.
        manifest: its manifest.
        expected: of this run, made by :func:`contents`.
        sharding: ``collection.table`` -> sharding type of this run.

    Raises:
        CheckpointError: names the first difference.
    """
    saved = manifest.facts["contents"]
    for key in sorted({*saved, *expected}):
        theirs, mine = saved.get(key), expected.get(key)
        if theirs == mine:
            continue
        if theirs is None:
            what = f"'{key}' is in this run but not in the checkpoint"
        elif mine is None:
            what = f"'{key}' is in the checkpoint but not in this run"
        else:
            what = f"'{key}' is {_text(theirs)} in the checkpoint and {_text(mine)} in this run"
        raise CheckpointError(f"{path} does not fit this run: {what}. {_reason(key, manifest, sharding)}")


def _reason(key: str, manifest: Manifest, sharding: dict[str, str]) -> str:
    ranks, ranks_now = manifest.facts["world_size"], dist.get_world_size()
    for table, kind in sharding.items():
        was = manifest.facts["sharding"].get(table)
        of_table = key.startswith("optimizer/") and f".{table.rpartition('.')[2]}.weight/" in key
        if of_table and (was, ranks) != (kind, ranks_now):
            return (
                f"Table {table} was {was} on {ranks} ranks and is {kind} on {ranks_now}; the row-wise state "
                "of a column-wise table, and Adam's of a replicated one, only fit the same layout. Keep the "
                "layout and the ranks"
            )
    return "Train with the settings that made it, or give another output folder"


def _text(entry: list) -> str:
    shape, dtype = entry
    return f"{dtype.removeprefix('torch.')} {' x '.join(map(str, shape)) or 'scalar'}"


def read(path: Path) -> Manifest:
    """Return the manifest of a checkpoint.

    Raises:
        CheckpointError: it is missing, unreadable, changed or of another format version.
    """
    try:
        manifest = Manifest.read(path)
    except ManifestError as error:
        raise CheckpointError(f"{error}; {_remedy(path)}") from error
    version = manifest.facts.get("version")
    if version != VERSION:
        raise CheckpointError(
            f"{path}: format version {version}, but this release reads {VERSION}; resume with the release "
            f"that wrote it, or delete the folder {path.parent} to start from scratch"
        )
    return manifest


def complete_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints that have a manifest, which is written last; the oldest first."""
    return sorted(path.parent for path in folder.glob(f"step_*/{MANIFEST}"))


def verify(path: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Compare files of a checkpoint with the sizes and checksums of its manifest.

    Raises:
        CheckpointError: names the first file that is missing, truncated or changed.
    """
    if damage := manifest.damage(path, checksums=True, names=names):
        raise CheckpointError(f"{damage}; {_remedy(path)}")


def _remedy(path: Path) -> str:
    before = [other for other in complete_checkpoints(path.parent) if other.name < path.name]
    if before:
        return f"delete the folder {path.name} to resume from the checkpoint before it, {before[-1].name}"
    return f"it is the oldest checkpoint: delete {path.name} to start from scratch"
