"""Copies of small tables on every rank: which tables may have them, what they cost, why one has them.

A table of a few rows that every row of a batch looks up sends its vectors from the rank that holds it to all
others. With a copy on each rank only the gradient travels, which is as large as the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torchrec.distributed.planner.constants import DP_ELEMENTWISE_KERNELS_PERF_FACTOR, kernel_bw_lookup
from torchrec.distributed.planner.types import (
    Perf,
    SharderDataMap,
    ShardEstimator,
    ShardingOption,
    Topology,
)

from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import TableLoad, allowed_types
from interactrank.sharding.settings import TableOptimizer
from interactrank.sharding.tables import TableInfo
from interactrank.sharding.types import TYPES, types_where

__all__ = ["DEFAULT_ROWS", "AllReduceEstimator", "replicable", "replication_reasons"]

DEFAULT_ROWS = 512  # of a batch on each rank, where no load says


def replicable(
    tables: Sequence[TableInfo], cluster: Cluster, optimizer: TableOptimizer, loads: Mapping[str, TableLoad]
) -> set[str]:
    """Return the names of the tables that the planner may copy to every rank.

    The kernels must be able to, and training must stay what it is on one rank: Adam's moments move rows that
    a batch did not look up if its gradients are dense, so that its tables are never replicated unasked. A
    table with more rows than all ranks together receive vectors is left out: its gradient is larger than
    what it would save. A job of one rank has nothing to save.

    Args:
        tables: tables of the model.
        cluster: its ranks.
        optimizer: the tables' optimizer.
        loads: table -> what a step asks of it on each rank; DEFAULT_ROWS of one id when left out.
    """
    if cluster.ranks == 1 or optimizer.name == "adam":
        return set()
    copies = set(types_where(replicated=True))
    # Between nodes each rank's link carries its share of the gradient alone.
    ways = cluster.ranks * (cluster.ranks_per_node if cluster.nodes > 1 else 1)
    return {
        t.name
        for t in tables
        if copies & set(allowed_types(t, cluster.device)) and t.rows <= ways * _vectors(t, loads.get(t.name))
    }


def _vectors(table: TableInfo, load: TableLoad | None) -> float:
    """Return how many vectors of a table a rank receives in a step."""
    if load is None:
        return float(DEFAULT_ROWS * len(table.features))
    return float(sum(r * (1 if table.pooled else i) for r, i in zip(load.rows, load.ids, strict=True)))


class AllReduceEstimator(ShardEstimator):
    """An estimator that replaces TorchRec's time of the gradients of replicated tables.

    TorchRec lets them travel between nodes even on one node. Here it is a ring within each node, with
    2 (n - 1) / n of the gradient through each rank's link, and one between nodes for each rank's share of it
    (Patarasuk and Yuan, 2009, section 3). The optimizer's passes over the table are as many as TorchRec
    counts, as computation and not as exchange.

    Args:
        topology: the ranks and their speeds, in bytes a millisecond.
    """

    def __init__(self, topology: Topology) -> None:
        local = topology.local_world_size
        nodes = -(-topology.world_size // local)
        bandwidths = topology.comms_bandwidths
        self._exchange = 2 * (local - 1) / local / bandwidths.intra_host_bw
        self._exchange += 2 * (nodes - 1) / nodes / local / bandwidths.inter_host_bw
        memory = kernel_bw_lookup(
            topology.compute_device,
            "dense",
            topology.hbm_mem_bw,
            topology.ddr_mem_bw,
            topology.hbm_to_ddr_mem_bw,
        )
        assert memory is not None  # there is a dense kernel for cpu and for cuda
        self._update = DP_ELEMENTWISE_KERNELS_PERF_FACTOR / memory

    def estimate(self, sharding_options: list[ShardingOption], sharder_data_map: SharderDataMap) -> None:
        """Set the times of every replicated table; those of the look-ups must have been estimated before."""
        for option in sharding_options:
            if not TYPES[option.sharding_type].replicated:
                continue
            size = option.tensor.numel() * option.tensor.element_size()
            first = option.shards[0].perf
            assert first is not None
            perf = Perf(
                fwd_compute=first.fwd_compute,
                fwd_comms=0.0,
                bwd_compute=first.bwd_compute + size * self._update,
                bwd_comms=size * self._exchange,
            )
            for shard in option.shards:
                shard.perf = perf


def replication_reasons(
    placed: Sequence[ShardingOption], tried: Mapping[str, Sequence[ShardingOption]]
) -> dict[str, str]:
    """Return table -> why every rank has a copy of it, for the replicated tables of a plan.

    Args:
        placed: one option for each table.
        tried: table -> all options that the planner had for it.
    """
    reasons = {}
    for option in placed:
        if not TYPES[option.sharding_type].replicated:
            continue
        others = [o for o in tried[option.fqn] if not TYPES[o.sharding_type].replicated]
        reasons[option.fqn] = "training.sharding asks for it"
        if others:
            best = min(others, key=_busiest)
            reasons[option.fqn] = (
                f"{_busiest(option):.3g} ms a step on each rank; as {best.sharding_type} it would take "
                f"{_busiest(best):.3g} ms on the busiest"
            )
    return reasons


def _busiest(option: ShardingOption) -> float:
    """Return the time of a table's slowest shard, in milliseconds."""
    return max(shard.perf.total for shard in option.shards if shard.perf is not None)
