"""The step count of fused Adam, which is missing from checkpoints.

Symptom: after a resume the tables' Adam corrects its moments as in the first steps: the first updates are too
large. No error.

Cause: FBGEMM's kernel counts steps in ``iter`` (and ``iter_cpu``), which is not part of
``split_optimizer_states``; so TorchRec's fused optimizer leaves it out of its ``state_dict``.

Upstream: https://github.com/meta-pytorch/torchrec/pull/2244 (closed) tells the same of another counter
user; no issue about Adam found on 2026-11-27.

Versions: seen in TorchRec 1.8.0 with FBGEMM 1.8.0.

Remove when: ``fused_optimizer.state_dict()`` has the count
(``tests/sharding/torchrec_patches/test_step_counts.py``).
"""

from __future__ import annotations

import torch
from torch import nn

from interactrank.distributed.collectives import all_gather_objects
from interactrank.sharding.lookups import lookup_modules

__all__ = ["set_table_steps", "table_steps"]


def table_steps(model: nn.Module) -> int:
    """Return how often the tables' fused optimizer has counted a step, on any rank. All ranks must call it.

    Optimizers other than Adam count nothing.
    """
    counts = [int(kernel.iter_cpu) for kernel in _counting(model)]
    return max(all_gather_objects(max(counts, default=0)))


@torch.no_grad()
def set_table_steps(model: nn.Module, steps: int) -> None:
    """Let the tables' fused optimizer go on counting from ``steps``."""
    for kernel in _counting(model):
        kernel.iter_cpu.fill_(steps)
        kernel.iter.fill_(steps)


def _counting(model: nn.Module) -> list:
    # `iter_cpu` is what a kernel counts by; `iter` is the copy on its device.
    return [kernel for kernel in lookup_modules(model) if hasattr(kernel, "iter_cpu")]
