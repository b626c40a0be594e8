"""What a checkpoint's manifest says, and whether its files and a run agree with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch.distributed as dist

from interactrank.core.errors import UserError
from interactrank.core.files import sha256
from interactrank.distributed.collectives import all_gather_objects

__all__ = [
    "MANIFEST",
    "VERSION",
    "CheckpointError",
    "compare",
    "complete_checkpoints",
    "contents",
    "manifest_text",
    "read_manifest",
    "verify",
]

VERSION = 4
MANIFEST = "manifest.json"


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be used; the message names the first thing that is wrong with it."""


def contents(state: dict[str, Any]) -> dict[str, list]:
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
    for theirs in all_gather_objects(mine):
        everyone.update(theirs)
    return dict(sorted(everyone.items()))


def compare(
    path: Path, manifest: dict[str, Any], expected: dict[str, list], sharding: dict[str, str]
) -> None:
    """Checks that a checkpoint holds what this run needs.

    Args:
        path: of the checkpoint, for the message.
        manifest: its manifest.
        expected: of this run, made by :func:`contents`.
        sharding: ``collection.table`` -> sharding type of this run.

    Raises:
        CheckpointError: names the first difference.
    """
    saved = manifest["contents"]
    for key in sorted({*saved, *expected}):
        theirs, mine = saved.get(key), expected.get(key)
        if theirs == mine:
            continue
        if theirs is None:
            what = f"'{key}' is in this run but not in the checkpoint"
        elif mine is None:
            what = f"'{key}' is in the checkpoint but not in this run"
        else:
            what = f"'{key}' is {_say(theirs)} in the checkpoint and {_say(mine)} in this run"
        raise CheckpointError(f"{path} does not fit this run: {what}. {_reason(key, manifest, sharding)}")


def _reason(key: str, manifest: dict[str, Any], sharding: dict[str, str]) -> str:
    ranks, ranks_now = manifest["world_size"], dist.get_world_size()
    for table, kind in sharding.items():
        was = manifest["sharding"].get(table)
        of_table = key.startswith("optimizer/") and f".{table.rpartition('.')[2]}.weight/" in key
        if of_table and (was, ranks) != (kind, ranks_now):
            return (
                f"Table {table} was {was} on {ranks} ranks and is {kind} on {ranks_now}; the row-wise state "
                "of a column-wise table, and Adam's of a replicated one, only fit the same layout. Keep the "
                "layout and the ranks"
            )
    return "Train with the settings that made it, or give another output folder"


def _say(entry: list) -> str:
    shape, dtype = entry
    return f"{dtype.removeprefix('torch.')} {' x '.join(map(str, shape)) or 'scalar'}"


def manifest_text(manifest: dict[str, Any]) -> str:
    """A manifest as it is written: JSON, with its own SHA-256."""
    return json.dumps({**manifest, "sha256": _own_sha256(manifest)}, indent=1)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint.

    Raises:
        CheckpointError: it is missing, unreadable, changed or of another format version.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        version = manifest["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: no readable {MANIFEST} ({error}); {_remedy(path)}") from error
    if version != VERSION:
        raise CheckpointError(
            f"{path}: format version {version}, but this release reads {VERSION}; resume with the release "
            "that wrote it"
        )
    if manifest.pop("sha256", None) != _own_sha256(manifest):
        raise CheckpointError(f"{path / MANIFEST} has changed since it was written; {_remedy(path)}")
    return manifest


def _own_sha256(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def complete_checkpoints(folder: Path) -> list[Path]:
    """Those of a run that have a manifest, which is written last; the oldest first."""
    return sorted(path.parent for path in folder.glob(f"step_*/{MANIFEST}"))


def verify(path: Path, files: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Compares files of a checkpoint with the sizes and checksums of its manifest.

    Raises:
        CheckpointError: names the first file that is missing, truncated or changed.
    """
    for name, expected in files:
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file} is missing; {_remedy(path)}")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise CheckpointError(f"{file} has {size} bytes instead of {expected['bytes']}; {_remedy(path)}")
        if sha256(file) != expected["sha256"]:
            raise CheckpointError(f"{file} has changed since it was written (SHA-256); {_remedy(path)}")


def _remedy(path: Path) -> str:
    before = [other for other in complete_checkpoints(path.parent) if other.name < path.name]
    if before:
        return f"delete the folder {path.name} to resume from the checkpoint before it, {before[-1].name}"
    return f"there is no checkpoint before it: without the folder {path.name} training begins anew"
