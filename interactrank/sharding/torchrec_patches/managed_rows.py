"""Sharding of managed tables on CPU, and what their rows start with when they change their value.

Symptom: on CPU a managed EmbeddingBagCollection has no sharding type at all. With one forced on it, the
first change of rows fails with "Could not run 'fbgemm::reset_weight_momentum' with arguments from the 'CPU'
backend". On CUDA such rows keep the momentum of optimizers other than row-wise Adagrad.

Cause: ``ManagedCollisionEmbeddingBagCollectionSharder.sharding_types`` leaves out row_wise on CPU. TorchRec
resets rows by an FBGEMM operator that exists for CUDA and for row-wise Adagrad only.

Upstream: https://github.com/meta-pytorch/torchrec/issues/2958 (open).

Versions: seen in TorchRec 1.8.0 with FBGEMM 1.8.0.

Remove when: TorchRec resets rows on CPU for every optimizer
(``tests/sharding/torchrec_patches/test_managed_rows.py``). Our rows also start with the weights that all
values without a row share; keep that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.mc_embedding import (
    ManagedCollisionEmbeddingCollectionSharder,
    ShardedManagedCollisionEmbeddingCollection,
)
from torchrec.distributed.mc_embeddingbag import (
    ManagedCollisionEmbeddingBagCollectionSharder,
    ShardedManagedCollisionEmbeddingBagCollection,
)

from interactrank.modules.managed import ManagedIds

__all__ = ["managed_sharders"]


@torch.no_grad()
def _reset_rows(sharded: Any, changed: dict[str, Tensor | None]) -> None:
    """Reset rows that change their value: optimizer state becomes 0.

    The weights become those that all values of the bucket without a row share. Rows of other modules than
    :class:`~interactrank.modules.managed.ManagedIds`, which know no such row, become 0.
    """
    for table, rows in changed.items():
        if rows is None:
            continue
        # One table on this rank: its rows are numbered from 0, and buckets are whole.
        managed = sharded._managed_collision_collection._managed_collision_modules[table]
        kernel, place = sharded._table_to_tbe_and_index[table]
        weights = kernel.split_embedding_weights()[int(place)]
        weights[rows] = weights[managed.rows_of_others(rows)] if isinstance(managed, ManagedIds) else 0
        states = kernel.split_optimizer_states()  # none for SGD
        for state in states[int(place)] if states else ():
            state[rows] = 0


class _ShardedBags(ShardedManagedCollisionEmbeddingBagCollection):
    def _evict(self, evictions_per_table: dict[str, Tensor | None]) -> None:
        _reset_rows(self, evictions_per_table)


class _ShardedRows(ShardedManagedCollisionEmbeddingCollection):
    def _evict(self, evictions_per_table: dict[str, Tensor | None]) -> None:
        _reset_rows(self, evictions_per_table)


class _BagsSharder(ManagedCollisionEmbeddingBagCollectionSharder):
    def shard(self, module: Any, params: Any, env: Any, device: Any = None, module_fqn: Any = None) -> Any:
        return _ShardedBags(module, params, self._e_sharder, self._mc_sharder, env, device)


class _RowsSharder(ManagedCollisionEmbeddingCollectionSharder):
    def shard(self, module: Any, params: Any, env: Any, device: Any = None, module_fqn: Any = None) -> Any:
        return _ShardedRows(module, params, self._e_sharder, self._mc_sharder, env, device)


def managed_sharders(bags: EmbeddingBagCollectionSharder, rows: EmbeddingCollectionSharder) -> list:
    """Return sharders of both kinds of managed collections, row-wise.

    Args:
        bags: sharder of pooled tables, which offers row_wise on CPU too.
        rows: sharder of sequence tables.
    """
    return [_BagsSharder(ebc_sharder=bags), _RowsSharder(ec_sharder=rows)]
