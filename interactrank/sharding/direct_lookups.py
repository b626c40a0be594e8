"""Look-ups that exchange nothing: of whole tables on one rank, and of copies on every rank.

TorchRec's sharded collections split the ids of a batch by rank, wait for them, look them up and wait for
the vectors. Where no id leaves its rank that only takes time: half of that of the look-ups of small batches.
From its second batch on such a collection only brings the keys into its order and calls FBGEMM's kernels.

Shapes: B rows, D width of all features together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchrec.distributed.embedding import ShardedEmbeddingCollection
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.modules.utils import construct_jagged_tensors
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor, KeyedTensor

from interactrank.sharding.types import TYPES

__all__ = ["exchanges_nothing", "look_up_directly"]


def look_up_directly(model: nn.Module, ranks: int) -> None:
    """Let collections call their kernels directly, where they exchange nothing.

    Others keep TorchRec's way: managed tables, mixed layouts, and batches whose features have batch sizes of
    their own. Results are the same to the bit.

    Args:
        model: sharded.
        ranks: of the job.
    """
    collection: Any
    for collection in model.modules():
        if type(collection) is ShardedEmbeddingBagCollection:
            look_up: Callable[..., Any] = _pooled
        elif type(collection) is ShardedEmbeddingCollection and not collection._use_index_dedup:
            look_up = _rows
        else:
            continue
        kinds = {of.sharding_type for of in collection.module_sharding_plan.values()}
        alone = kinds == {"table_wise"} and ranks == 1
        if (alone or all(TYPES[kind].replicated for kind in kinds)) and len(collection._lookups) == 1:
            collection.forward = _direct(collection, look_up)
            collection._looks_up_directly = True


def exchanges_nothing(collection: nn.Module) -> bool:
    """Return whether :func:`look_up_directly` found that no id of a collection leaves its rank."""
    return getattr(collection, "_looks_up_directly", False)


def _direct(collection: Any, look_up: Callable[..., Any]) -> Callable[..., Any]:
    whole = collection.forward

    def forward(features: Any) -> Any:
        first = collection._has_uninitialized_input_dist  # TorchRec then finds out the order of the keys
        if first or not isinstance(features, KeyedJaggedTensor) or features.variable_stride_per_key():
            return whole(features)
        return look_up(collection, features)

    return forward


def _in_order(collection: Any, features: KeyedJaggedTensor) -> KeyedJaggedTensor:
    if not collection._features_order:
        return features
    with torch.no_grad():
        return features.permute(collection._features_order, collection._features_order_tensor)


def _pooled(collection: ShardedEmbeddingBagCollection, features: KeyedJaggedTensor) -> KeyedTensor:
    """Return [B, D] sums or means."""
    values = collection._lookups[0](_in_order(collection, features))
    return KeyedTensor(
        keys=collection._embedding_names, length_per_key=collection._embedding_dims, values=values
    )


def _rows(collection: ShardedEmbeddingCollection, features: KeyedJaggedTensor) -> dict[str, JaggedTensor]:
    """Return the vector of each id, by feature."""
    features = _in_order(collection, features)
    (kind,) = collection._sharding_type_to_sharding
    values = collection._lookups[0](features).view(-1, collection._embedding_dim_for_sharding_type(kind))
    return construct_jagged_tensors(
        embeddings=values,
        features=features,
        embedding_names=collection._embedding_names_per_sharding[0],
        need_indices=collection._need_indices,
        features_to_permute_indices=collection._features_to_permute_indices,
    )
