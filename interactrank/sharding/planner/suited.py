"""Which sharding types the planner tries for a table that the user does not constrain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.tables import TableInfo
from interactrank.sharding.types import TYPES, ShardingType

__all__ = ["FEW_PARTS", "suited_types"]

FEW_PARTS = 10_000  # tables x ranks; the planner estimates and places each shard of each layout


def suited_types(
    tables: Sequence[TableInfo],
    cluster: Cluster,
    sizes: Mapping[str, int],
    loads: Mapping[str, TableLoad],
    replicated: Collection[str] = (),
) -> dict[str, list[ShardingType]]:
    """Return the sharding types to try for each table.

    For few tables on few ranks these are all planned types: table_wise and row_wise, on several nodes with
    GPUs table_row_wise, and a copy on every rank for the tables of ``replicated``. For many (tables x ranks
    above FEW_PARTS) they depend on the table:

    - a table of at most a quarter of a rank's memory, and of its even share of the work, stays on one rank;
    - others stay on one rank or are spread over a node;
    - only tables of more than half of a node's memory may be spread over all ranks, as each rank then holds a
      partial sum for every row of every other rank's batch.

    Args:
        tables: tables of the model.
        cluster: its ranks.
        sizes: table -> bytes of weights, managed ids and optimizer state.
        loads: table -> what a step asks of it; one id for each feature of a table that is left out.
        replicated: tables that may be copied to every rank.
    """
    work = {t.name: _work(t, loads.get(t.name)) for t in tables}
    hbm, ddr = cluster.usable()
    memory = max(1, hbm if cluster.device == "cuda" else ddr)
    share = sum(work.values()) / cluster.ranks
    types: dict[str, list[ShardingType]] = {}
    for t in tables:
        nodes = cluster.nodes > 1 and t.pooled and cluster.device == "cuda"
        spreads = ["rank", "node", "job"] if cluster.ranks > 1 else ["rank"]  # one rank has nothing to split
        if len(tables) * cluster.ranks > FEW_PARTS:
            if sizes[t.name] <= memory / 4 and work[t.name] <= share / 4:
                spreads = ["rank"]
            elif nodes:
                fits = sizes[t.name] <= memory * cluster.ranks_per_node / 2
                spreads = ["rank", "node"] if fits else ["node", "job"]
        types[t.name] = [
            name
            for name, of in TYPES.items()
            if (
                (of.planned == "always" or (nodes and of.planned == "multi_node_gpu"))
                and (of.rows_over or "rank") in spreads
            )
            or (of.planned == "small" and t.name in replicated)
        ]
    return types


def _work(table: TableInfo, load: TableLoad | None) -> float:
    """Return the bytes that a step reads of a table, for each rank's batch."""
    ids = sum(r * i for r, i in zip(load.rows, load.ids, strict=True)) if load else len(table.features)
    return float(ids * table.dim)
