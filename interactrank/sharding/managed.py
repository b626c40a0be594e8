"""Sharding of managed ID tables, on CPU too: what happens to rows that change their value.

TorchRec resets such rows by an FBGEMM operator that exists for CUDA only, and draws new numbers. Here they
start, on any device, with what all values without a row share, and without optimizer state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
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

from interactrank.distributed.collectives import all_gather_objects
from interactrank.modules.managed import ManagedIds

__all__ = ["managed_report", "managed_sharders", "managed_totals", "never_managed"]


@torch.no_grad()
def _start_anew(sharded: Any, changed: dict[str, Tensor | None]) -> None:
    """Weights of these rows become those of their bucket's other values; their optimizer state becomes 0."""
    for table, rows in changed.items():
        if rows is None:
            continue
        # Of one table on this rank: its rows are numbered from 0, and buckets are whole, so that this holds.
        managed = sharded._managed_collision_collection._managed_collision_modules[table]
        kernel, place = sharded._table_to_tbe_and_index[table]
        weights = kernel.split_embedding_weights()[int(place)]
        weights[rows] = weights[managed.rows_of_others(rows)]
        states = kernel.split_optimizer_states()  # none for SGD
        for state in states[int(place)] if states else ():
            state[rows] = 0


class _ShardedBags(ShardedManagedCollisionEmbeddingBagCollection):
    def _evict(self, evictions_per_table: dict[str, Tensor | None]) -> None:
        _start_anew(self, evictions_per_table)


class _ShardedRows(ShardedManagedCollisionEmbeddingCollection):
    def _evict(self, evictions_per_table: dict[str, Tensor | None]) -> None:
        _start_anew(self, evictions_per_table)


class _BagsSharder(ManagedCollisionEmbeddingBagCollectionSharder):
    def shard(self, module: Any, params: Any, env: Any, device: Any = None, module_fqn: Any = None) -> Any:
        return _ShardedBags(module, params, self._e_sharder, self._mc_sharder, env, device)


class _RowsSharder(ManagedCollisionEmbeddingCollectionSharder):
    def shard(self, module: Any, params: Any, env: Any, device: Any = None, module_fqn: Any = None) -> Any:
        return _ShardedRows(module, params, self._e_sharder, self._mc_sharder, env, device)


def managed_sharders(bags: EmbeddingBagCollectionSharder, rows: EmbeddingCollectionSharder) -> list:
    """Sharders of both kinds of managed collections, row-wise.

    Args:
        bags: sharder of the pooled tables inside.
        rows: sharder of the sequence's tables inside.
    """
    return [_BagsSharder(ebc_sharder=bags), _RowsSharder(ec_sharder=rows)]


def managed_report(model: nn.Module) -> dict[str, float]:
    """What managed tables did since the last call, over all ranks. All ranks must call it.

    Args:
        model: sharded or not.

    Returns:
        For each table ``managed/<table>/``: ``lookups`` in training, ``own``, the share of them whose value
        had a row of its own, ``evicted`` values and ``inserted`` values. Empty without managed tables.
    """
    mine: dict[str, list[int]] = {}
    for path, module in model.named_modules():
        if isinstance(module, ManagedIds):
            mine[path.rpartition(".")[2]] = module.statistics.tolist()
            module.statistics.zero_()
    if not mine:
        return {}
    everyone = all_gather_objects(mine)
    row: dict[str, float] = {}
    for table in mine:
        lookups, own, evicted, inserted = (
            sum(numbers) for numbers in zip(*(theirs[table] for theirs in everyone), strict=True)
        )
        row |= {
            f"managed/{table}/lookups": lookups,
            f"managed/{table}/own": own / max(lookups, 1),
            f"managed/{table}/evicted": evicted,
            f"managed/{table}/inserted": inserted,
        }
    return row


def never_managed(model: nn.Module, steps: int) -> list[str]:
    """A line for each managed table whose rows a training of so many steps would never give to any value."""
    tables = {path.rpartition(".")[2]: m for path, m in model.named_modules() if isinstance(m, ManagedIds)}
    return [
        f"managed table {name}: rows are given to values every {managed.eviction.interval} steps, and the "
        f"whole training has {steps}: all values of a bucket will share one row; lower "
        f"schema.tables.{name}.eviction_interval, or train for more steps"
        for name, managed in tables.items()
        if steps < managed.eviction.interval
    ]


def managed_totals(history: list[dict[str, float]]) -> list[str]:
    """A line for each managed table of a run.

    Args:
        history: rows with the numbers of :func:`managed_report`.

    Example::

        >>> row = {"step": 1, "managed/item/lookups": 8, "managed/item/own": 0.5}
        >>> managed_totals([row | {"managed/item/evicted": 2, "managed/item/inserted": 3}])
        ['managed table item: 8 look-ups, 50.0 % of them of a row of their own; 3 values inserted, 2 evicted']
    """
    lines = []
    tables = dict.fromkeys(key.split("/")[1] for row in history for key in row if key.startswith("managed/"))
    for table in tables:
        key = f"managed/{table}/"
        rows = [row for row in history if f"{key}lookups" in row]
        lookups = sum(row[f"{key}lookups"] for row in rows)
        own = sum(row[f"{key}lookups"] * row[f"{key}own"] for row in rows) / max(lookups, 1)
        inserted, evicted = (sum(row[f"{key}{what}"] for row in rows) for what in ("inserted", "evicted"))
        lines.append(
            f"managed table {table}: {lookups:,.0f} look-ups, {own:.1%} of them of a row of their own; "
            f"{inserted:,.0f} values inserted, {evicted:,.0f} evicted".replace("%", " %")
        )
    return lines
