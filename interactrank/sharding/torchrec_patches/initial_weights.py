"""The weights that a model has before it is sharded.

Symptom: on CPU, weights that were set or loaded before sharding are lost for some collections: a sharded
EmbeddingBagCollection starts with new random numbers, an EmbeddingCollection with the given ones. No error.

Cause: ``DistributedModelParallel`` initializes the tables of EmbeddingBagCollections by their ``init_fn``
again.

Upstream: no issue found on 2026-11-27; https://github.com/meta-pytorch/torchrec/issues/1165 (closed) asks
how to set weights.

Versions: seen in TorchRec 1.8.0.

Remove when: a sharded EmbeddingBagCollection has the weights of the unsharded one
(``tests/sharding/torchrec_patches/test_initial_weights.py``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor

__all__ = ["copy_weights"]


@torch.no_grad()
def copy_weights(weights: Mapping[str, Tensor], sharded: nn.Module) -> None:
    """Fill the shards of every table, and replicated parameters, from the whole weights.

    Args:
        weights: state of the unsharded model; weights on the ``meta`` device are left as TorchRec made them.
        sharded: the sharded model.
    """
    for key, value in sharded.state_dict().items():
        if weights[key].is_meta:
            continue
        if isinstance(value, ShardedTensor):
            for shard in value.local_shards():
                part = weights[key]
                for axis, (offset, size) in enumerate(
                    zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
                ):
                    part = part.narrow(axis, offset, size)
                shard.tensor.copy_(part)
        elif isinstance(value, Tensor):
            value.copy_(weights[key])
