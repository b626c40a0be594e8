"""A checkpoint loaded into a model whose tables have grown since: training that goes on with new data.

Rows of a table keep their places; a model of later data has further rows behind them. A further row begins as
row 0, by which its value was read until now. Its optimizer state begins at 0, as that of a row that
was never updated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import KeyedOptimizer

from interactrank.checkpoint import manifest as manifests
from interactrank.checkpoint.manifest import CheckpointError
from interactrank.checkpoint.state_layout import canonicalize_optimizer_state
from interactrank.core.manifest import Manifest
from interactrank.distributed.collectives import raise_on_all_ranks
from interactrank.distributed.world import current_world
from interactrank.sharding.torchrec_patches.step_counts import set_table_steps

__all__ = ["load_grown"]


@torch.no_grad()
def load_grown(path: Path, dmp: DistributedModelParallel, optimizer: KeyedOptimizer) -> dict[str, int]:
    """Fill model and optimizer from a checkpoint of a model whose tables have the same or fewer rows.

    A table that has grown is read whole, on each rank. All ranks must call it.

    Args:
        path: a checkpoint.
        dmp: the sharded model.
        optimizer: all of its optimizers.

    Returns:
        Name in the state of the model -> rows that are new.

    Raises:
        CheckpointError: the checkpoint is damaged, or of a model with other settings or with more rows.
    """
    world, manifest = current_world(), Manifest()
    with raise_on_all_ranks(f"checking the checkpoint {path}"):
        manifest = manifests.read(path)
        manifests.verify(path, manifest, sorted(manifest.files)[world.rank :: world.size])
    own = {"model": dmp.state_dict(), "optimizer": optimizer.state_dict()}
    state = canonicalize_optimizer_state(own)
    expected, saved = manifests.contents(state), manifest.facts["contents"]
    grown = {key: saved[key] for key in expected if _has_grown(saved.get(key), expected[key])}
    sharding = {
        f"{p}.{table}": of.sharding_type for p, plan in dmp.plan.plan.items() for table, of in plan.items()
    }
    with raise_on_all_ranks(f"comparing the checkpoint {path}"):
        manifests.compare(path, manifest, {**expected, **grown}, sharding)
    whole = {key: torch.zeros(shape, dtype=_dtype(kind)) for key, (shape, kind) in grown.items()}
    dcp.load(_replaced(state, whole), checkpoint_id=path)
    for key, target in _leaves(state):
        if key in whole:
            fill = whole[key][0] if key.startswith("model/") else torch.zeros_like(whole[key][0])
            _fill(target, whole[key], fill)
    dmp.load_state_dict(own["model"])
    optimizer.load_state_dict(own["optimizer"])
    set_table_steps(dmp, manifest.facts["table_steps"])
    return {k.removeprefix("model/"): expected[k][0][0] - grown[k][0][0] for k in grown if k[0] == "m"}


def _has_grown(saved: list | None, now: list) -> bool:
    """Return whether a tensor [shape, dtype] is the same but for more rows."""
    if saved is None or saved[1] != now[1] or not now[0] or len(saved[0]) != len(now[0]):
        return False
    return bool(saved[0][1:] == now[0][1:] and saved[0][0] < now[0][0])


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name.removeprefix("torch."))
    if not isinstance(found, torch.dtype):
        raise CheckpointError(f"a checkpoint has values of the unknown type {name}")
    return found


def _leaves(state: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in state.items():
        name = f"{prefix}/{key}" if prefix else str(key)
        found += _leaves(value, name) if isinstance(value, dict) else [(name, value)]
    return found


def _replaced(state: dict[str, Any], by: dict[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Return the state with other tensors under some names."""
    result = {}
    for key, value in state.items():
        name = f"{prefix}/{key}" if prefix else str(key)
        result[key] = _replaced(value, by, name) if isinstance(value, dict) else by.get(name, value)
    return result


def _fill(target: Any, rows: Tensor, new: Tensor) -> None:
    """Write the rows into a tensor or this rank's shards of it, and ``new`` into each row behind them."""
    if not isinstance(target, ShardedTensor):
        target[: len(rows)].copy_(rows)
        target[len(rows) :] = new.to(target.device)
        return
    for shard in target.local_shards():
        first, *columns = shard.metadata.shard_offsets
        height = shard.metadata.shard_sizes[0]
        part, fill = rows[first : first + height], new
        if columns:
            width = slice(columns[0], columns[0] + shard.metadata.shard_sizes[1])
            part, fill = part[:, width], new[width]
        shard.tensor[: len(part)].copy_(part)
        shard.tensor[len(part) :] = fill.to(shard.tensor.device)
