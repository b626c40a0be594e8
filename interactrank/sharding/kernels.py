"""The FBGEMM kernels of a sharded model, which TorchRec hides from the model's modules and buffers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from interactrank.distributed.collectives import all_gather_objects

__all__ = ["set_table_steps", "table_steps", "unlock_caches"]


def _kernels(model: nn.Module) -> Iterator[nn.Module]:
    """Every module inside the look-ups of a sharded model's collections, FBGEMM's kernels among them.

    Args:
        model: sharded; an unsharded one has none.
    """
    for collection in model.modules():
        for lookup in getattr(collection, "_lookups", ()):
            yield from lookup.modules()


def table_steps(model: nn.Module) -> int:
    """How often the fused optimizer of the tables has counted a step, on any rank. All ranks must call it.

    Adam corrects its moments by that count, which TorchRec leaves out of the state of its optimizers. Other
    optimizers count nothing.
    """
    counts = [int(kernel.iter_cpu) for kernel in _counting(model)]
    return max(all_gather_objects(max(counts, default=0)))


@torch.no_grad()
def set_table_steps(model: nn.Module, steps: int) -> None:
    """Lets the tables' fused optimizer go on counting from ``steps``."""
    for kernel in _counting(model):
        kernel.iter_cpu.fill_(steps)
        kernel.iter.fill_(steps)


def unlock_caches(model: nn.Module) -> None:
    """Lets go of the rows that an evaluation looked up in caches which are filled ahead.

    FBGEMM keeps such rows in the cache until their backward pass. An evaluation has none, so that one after
    the other would fill the caches for good. Call it when no batch is under way.

    Args:
        model: sharded; without such caches nothing is done.
    """
    for kernel in _kernels(model):
        if (counter := getattr(kernel, "lxu_cache_locking_counter", None)) is not None:
            counter.zero_()


def _counting(model: nn.Module) -> list:
    # `iter_cpu` is what a kernel counts by; `iter` is the copy on its device.
    return [kernel for kernel in _kernels(model) if hasattr(kernel, "iter_cpu")]
