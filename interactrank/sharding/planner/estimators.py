"""Estimates of time and memory that the planner needs in addition to TorchRec's own."""

from __future__ import annotations

from dataclasses import replace

from torchrec.distributed.planner.types import SharderDataMap, ShardEstimator, ShardingOption, Storage

from interactrank.sharding.settings import TableOptimizer
from interactrank.sharding.table_optimizer import state_bytes
from interactrank.sharding.tables import TableInfo
from interactrank.sharding.types import TYPES

__all__ = ["GRADIENTS", "CachedPerfEstimator", "ExtraMemoryEstimator", "held_bytes"]

GRADIENTS = 2
"""Gradients of a replicated table, each as large as it, at the peak of a step.

One is exchanged between the ranks. The other is what that one is filled from, or its squares in the optimizer
(measured on two ranks of CPU).
"""


class CachedPerfEstimator(ShardEstimator):
    """An estimator that asks another one once for each size of a table's shards.

    TorchRec's estimate of a shard's time depends only on the shard's size.
    """

    def __init__(self, inner: ShardEstimator) -> None:
        self.inner = inner

    def estimate(self, sharding_options: list[ShardingOption], sharder_data_map: SharderDataMap) -> None:
        """Set the time of every shard."""
        for option in sharding_options:
            shards = option.shards
            first = {tuple(shard.size): shard for shard in reversed(shards)}
            option.shards = list(first.values())
            self.inner.estimate([option], sharder_data_map)
            option.shards = shards
            for shard in shards:
                shard.perf = first[tuple(shard.size)].perf


class ExtraMemoryEstimator(ShardEstimator):
    """An estimator that adds what TorchRec's estimate of weights and optimizer state leaves out.

    These are the ids of managed tables and the gradients of replicated ones, in the memory of the device, and
    copies for checkpoints, in that of the host. The estimate of the weights must have run before.
    """

    def __init__(self, device: str, tables: list[TableInfo], copied: TableOptimizer | None) -> None:
        self.device, self.copied = device, copied
        self.tables = {table.path: table for table in tables}

    def estimate(self, sharding_options: list[ShardingOption], sharder_data_map: SharderDataMap) -> None:
        """Add to the memory of every shard."""
        for option in sharding_options:
            table = self.tables[option.fqn]
            more = {tuple(shard.size): self._more(option, table, shard.size) for shard in option.shards}
            for shard in option.shards:
                assert shard.storage is not None
                shard.storage += more[tuple(shard.size)]

    def _more(self, option: ShardingOption, table: TableInfo, size: list[int]) -> Storage:
        part = replace(table, rows=size[0], dim=size[1])
        own = part.managed_bytes
        if TYPES[option.sharding_type].replicated:
            own += GRADIENTS * part.bytes
        copy = 0 if self.copied is None else held_bytes(part, self.copied)
        return Storage(hbm=own, ddr=copy) if self.device == "cuda" else Storage(hbm=0, ddr=own + copy)


def held_bytes(table: TableInfo, optimizer: TableOptimizer, column_parts: int = 1) -> int:
    """Return what a table, or a shard, keeps from step to step: weights, optimizer state and managed ids.

    ``training.checkpoint_async`` keeps a copy of as much in the host's memory.
    """
    return table.bytes + table.managed_bytes + state_bytes(table, optimizer, column_parts)
