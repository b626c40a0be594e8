"""On which ranks the shards of a table may be, by :data:`~interactrank.sharding.types.Ranks`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.rank_list import show_ranks
from interactrank.sharding.tables import TableInfo
from interactrank.sharding.types import TYPES, Ranks, ShardingType

__all__ = ["RULES", "column_shards", "ranks_problem"]


def _any(ranks: Sequence[int], cluster: Cluster) -> str | None:
    return None


def _one(ranks: Sequence[int], cluster: Cluster) -> str | None:
    return None if len(ranks) == 1 else f"one rank, not {len(ranks)}"


def _all(ranks: Sequence[int], cluster: Cluster) -> str | None:
    everyone = range(cluster.ranks)
    return None if list(ranks) == list(everyone) else f"all ranks in order, '{show_ranks(everyone)}'"


def _of_one_node(ranks: Sequence[int], cluster: Cluster) -> str | None:
    size = cluster.ranks_per_node
    return None if len({rank // size for rank in ranks}) <= 1 else f"ranks of one node ({size} each)"


def _whole_nodes(ranks: Sequence[int], cluster: Cluster) -> str | None:
    size = cluster.ranks_per_node
    nodes = [ranks[start : start + size] for start in range(0, len(ranks), size)]
    whole = all(list(part) == list(range(part[0], part[0] + size)) and part[0] % size == 0 for part in nodes)
    return None if whole else f"whole nodes, each {size} ranks in order"


def _one_node(ranks: Sequence[int], cluster: Cluster) -> str | None:
    size = cluster.ranks_per_node
    if len(ranks) == size and _whole_nodes(ranks, cluster) is None:
        return None
    return f"the {size} ranks of one node in order, such as '{show_ranks(range(size))}'"


RULES: dict[Ranks, Callable[[Sequence[int], Cluster], str | None]] = {
    "one": _one,
    "any": _any,
    "of_one_node": _of_one_node,
    "one_node": _one_node,
    "whole_nodes": _whole_nodes,
    "all": _all,
}
"""What a table needs if it may not be on some ranks of a cluster; None if it may."""


def ranks_problem(
    sharding: ShardingType, ranks: Sequence[int], table: TableInfo, cluster: Cluster
) -> str | None:
    """Return why a table of this sharding type cannot have its shards on these ranks; None if it can."""
    needed = RULES[TYPES[sharding].ranks](ranks, cluster)
    if needed is not None:
        return f"{sharding} needs {needed}"
    shards = column_shards(sharding, ranks, cluster)
    if TYPES[sharding].splits_columns and (table.dim % shards or table.dim // shards % 4):
        return f"{table.dim} columns do not make {shards} shards whose width is a multiple of 4"
    return None


def column_shards(sharding: ShardingType, ranks: Sequence[int], cluster: Cluster) -> int:
    """Return how many shards lie side by side if a table of this type is on these ranks."""
    return TYPES[sharding].column_shards(len(ranks), cluster.ranks_per_node)
