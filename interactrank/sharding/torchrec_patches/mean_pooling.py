"""Mean-pooled tables in one sharded EmbeddingBagCollection, some row-wise and some not.

The ranks of a row-wise table send sums, which TorchRec then divides by the number of ids. Where a collection
has any such table, TorchRec 1.8 divides the features of all its other tables as well, except row-wise ones
that are summed: a table-wise mean is divided twice, a table-wise sum becomes a mean. And a grid-sharded mean
is not divided at all. Neither raises an error.
"""

from __future__ import annotations

from torch import nn
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.modules.embedding_configs import PoolingType

__all__ = ["correct_mean_pooling"]

_SENDS_SUMS = ("row_wise", "table_row_wise", "grid_shard")


def correct_mean_pooling(model: nn.Module) -> None:
    """Lets every sharded collection divide the mean-pooled features whose ranks send sums, and no others.

    Args:
        model: after sharding, before its first batch.
    """
    for module in model.modules():
        if not isinstance(module, ShardedEmbeddingBagCollection):
            continue
        divided: list[str] = []
        left: list[str] = []
        for config in module._embedding_bag_configs:
            sums = module.module_sharding_plan[config.name].sharding_type in _SENDS_SUMS
            mean = config.pooling == PoolingType.MEAN
            (divided if sums and mean else left).extend(config.feature_names)
        # TorchRec's own names: those of SUM keep their values, and MEAN says whether to divide at all.
        module._pooling_type_to_rs_features[PoolingType.SUM.value] = left
        module._pooling_type_to_rs_features[PoolingType.MEAN.value] = divided
        module._has_mean_pooling_callback = bool(divided)
