"""Cache rows that stay locked after an evaluation.

Symptom: with the pipeline ``prefetch``, steps become slower after each evaluation, as the caches of tables
with kernel ``fused_uvm_caching`` take fewer and fewer new rows. No error.

Cause: FBGEMM locks the cache rows of a batch that is looked up ahead until a hook of its backward pass
unlocks them. An evaluation has no backward pass.

Upstream: https://github.com/pytorch/FBGEMM/pull/1883 made the locks;
https://github.com/pytorch/FBGEMM/pull/6192 releases them in a forward without gradients, for another kernel.

Versions: seen in FBGEMM 1.8.0.

Remove when: ``lxu_cache_locking_counter`` is 0 after a forward under ``no_grad``
(``tests/sharding/torchrec_patches/test_cache_locks.py``, on a GPU).
"""

from __future__ import annotations

from torch import nn

from interactrank.sharding.lookups import lookup_modules

__all__ = ["unlock_caches"]


def unlock_caches(model: nn.Module) -> None:
    """Unlock cache rows that evaluation look-ups have locked. Call it when no batch is prefetched.

    Args:
        model: a sharded model; without such caches nothing is done.
    """
    for kernel in lookup_modules(model):
        if (counter := getattr(kernel, "lxu_cache_locking_counter", None)) is not None:
            counter.zero_()
