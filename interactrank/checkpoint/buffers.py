"""Buffers that differ between ranks, such as running statistics of each rank's own batches.

Tables are sharded and parameters are the same on all ranks, but a buffer may be a rank's own; a checkpoint
that held rank 0's alone would resume the other ranks with its values.
"""

from __future__ import annotations

import hashlib

import torch
import torch.distributed as dist
from torch import Tensor, nn

from interactrank.distributed.collectives import all_gather_objects

__all__ = ["buffers_of_ranks", "copy_buffers"]


def buffers_of_ranks(model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return this rank's values of the buffers that are not the same on all ranks. All ranks must call it.

    Args:
        model: sharded or not.

    Returns:
        ``name_<rank>`` -> value, and the names of these buffers.
    """
    if dist.get_world_size() == 1:
        return {}, []
    saved = _saved_buffers(model)
    mine = {name: _digest(value) for name, value in saved.items()}
    everyone = all_gather_objects(mine)
    names = [name for name in mine if any(theirs.get(name) != mine[name] for theirs in everyone)]
    rank = dist.get_rank()
    return {f"{name}_{rank}": saved[name].detach() for name in names}, names


@torch.no_grad()
def copy_buffers(
    model: nn.Module, names: list[str], values: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return copies of the named buffers for a checkpoint to fill, or put ``values`` back in place.

    Args:
        model: sharded or not.
        names: of the buffers.
        values: what to put into them.

    Returns:
        ``name_<rank>`` -> value.
    """
    saved, rank = _saved_buffers(model), dist.get_rank()
    if values is not None:
        for name in names:
            saved[name].copy_(values[f"{name}_{rank}"])
    return {f"{name}_{rank}": saved[name].detach().clone() for name in names}


def _saved_buffers(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    buffers = {name for name, _ in model.named_buffers()}
    return {name: value for name, value in state.items() if name in buffers and type(value) is Tensor}


def _digest(value: Tensor) -> str:
    data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(data.numpy().data).hexdigest()
