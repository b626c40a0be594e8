"""Mean-pooled tables in one sharded EmbeddingBagCollection, some row-wise and some not.

Symptom: pooled embeddings are wrong, without an error: next to a row-wise table, a table-wise mean is divided
twice by the number of ids and a table-wise sum becomes a mean; a grid-sharded mean is not divided at all.

Cause: the ranks of a row-wise table send sums, which TorchRec then divides by the number of ids. If a
collection has any such table, TorchRec divides the features of all other tables as well, except row-wise
ones that are summed. ``ShardedEmbeddingBagCollection`` does not count grid_shard among the types that send
sums.

Upstream: https://github.com/meta-pytorch/torchrec/issues/2808 (open: mean and sum in one row-wise
collection), https://github.com/meta-pytorch/torchrec/issues/2362 (closed: row-wise mean).

Versions: seen in TorchRec 1.8.0.

Remove when: every pair of types pools as the unsharded collection without it
(``tests/sharding/torchrec_patches/test_mean_pooling.py``).
"""

from __future__ import annotations

from torch import nn
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.modules.embedding_configs import PoolingType

from interactrank.sharding.types import TYPES

__all__ = ["correct_mean_pooling"]


def correct_mean_pooling(model: nn.Module) -> None:
    """Let every sharded collection divide the mean-pooled features whose ranks send sums, and no others.

    Args:
        model: a sharded model, before its first batch.
    """
    for module in model.modules():
        if not isinstance(module, ShardedEmbeddingBagCollection):
            continue
        divided: list[str] = []
        left: list[str] = []
        for config in module._embedding_bag_configs:
            sums = TYPES[module.module_sharding_plan[config.name].sharding_type].sends_sums
            mean = config.pooling == PoolingType.MEAN
            (divided if sums and mean else left).extend(config.feature_names)
        # TorchRec's own names: those of SUM keep their values, and MEAN says whether to divide at all.
        module._pooling_type_to_rs_features[PoolingType.SUM.value] = left
        module._pooling_type_to_rs_features[PoolingType.MEAN.value] = divided
        module._has_mean_pooling_callback = bool(divided)
