"""A plan as a JSON file: written by ``interactrank plan`` and by every training, edited by hand.

A training reads ``ranks``, ``ranks_per_node`` and the shape, sharding, kernel and ranks of each table; the
rest (``expected``) is for people. The sizes of the shards follow from the ranks: a column-wise table has
one shard of columns for each of its ranks; the other types need the ranks that
:mod:`~interactrank.sharding.planner.rank_rules` says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torchrec.distributed.planner.enumerators import get_partition_by_type
from torchrec.distributed.planner.planners import to_sharding_plan
from torchrec.distributed.planner.types import Shard, ShardingOption
from torchrec.distributed.sharding_plan import calculate_shard_sizes_and_offsets
from torchrec.distributed.types import CacheParams, ShardingPlan

from interactrank.core.files import atomic_write_text
from interactrank.core.settings import near
from interactrank.distributed.collectives import run_on_rank0
from interactrank.distributed.world import World
from interactrank.sharding.errors import PlanError
from interactrank.sharding.planner.cluster import Cluster, cluster_of
from interactrank.sharding.planner.describe import describe_plan
from interactrank.sharding.planner.plan_checks import is_whole_number, table_problems
from interactrank.sharding.planner.plan_memory import memory_problems
from interactrank.sharding.planner.rank_list import parse_ranks, show_ranks
from interactrank.sharding.planner.rank_rules import column_shards
from interactrank.sharding.settings import ShardingSettings
from interactrank.sharding.tables import TableInfo, table_collections, tables_of

__all__ = ["load_plan", "plan_values", "read_plan", "write_plan"]

FORMAT = "interactrank plan 1"
TOP_KEYS = {"format", "ranks", "ranks_per_node", "tables", "expected"}


def plan_values(
    model: nn.Module, plan: ShardingPlan, *, ranks: int, ranks_per_node: int, expected: Any = None
) -> dict[str, Any]:
    """Return a plan in JSON's types.

    Args:
        model: the unsharded model.
        plan: plan of its tables.
        ranks: ranks of the job.
        ranks_per_node: ranks on each node.
        expected: what a reader may want to know of the plan; nothing reads it back.
    """
    tables: dict[str, dict[str, Any]] = {}
    for table, of in zip(tables_of(model), describe_plan(model, plan, ranks), strict=True):
        tables[of.table] = {
            "rows": of.rows,
            "dim": of.dim,
            "sharding": of.sharding,
            "kernel": of.kernel,
            "ranks": show_ranks(of.ranks),
        }
        cache = plan.plan[table.collection][table.name].cache_params
        if cache is not None and cache.load_factor is not None:
            tables[of.table]["cache_load_factor"] = cache.load_factor
    values = {"format": FORMAT, "ranks": ranks, "ranks_per_node": ranks_per_node, "tables": tables}
    return values if expected is None else {**values, "expected": expected}


def write_plan(path: str | os.PathLike[str], values: Mapping[str, Any]) -> Path:
    """Write what :func:`plan_values` returned, whole or not at all."""
    return atomic_write_text(path, json.dumps(values, indent=1) + "\n")


def load_plan(
    path: str | os.PathLike[str], model: nn.Module, settings: ShardingSettings, world: World
) -> ShardingPlan:
    """Return the plan of a file, for this model on these ranks. All ranks must call it; rank 0 reads.

    Raises:
        PlanError: the file cannot be read, or its plan does not fit (on other ranks a RankError quotes it).
    """
    cluster = cluster_of(world)
    return run_on_rank0(f"reading the plan {path}", lambda: read_plan(path, model, settings, cluster))


def read_plan(
    path: str | os.PathLike[str], model: nn.Module, settings: ShardingSettings, cluster: Cluster
) -> ShardingPlan:
    """Return the plan of a file, for this model on this cluster; needs no process group.

    Raises:
        PlanError: the file cannot be read, or lists everything in it that does not fit, by table.
    """
    try:
        values = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot read the plan '{path}': {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise PlanError(
            f"'{path}' is not a plan ('format' is not '{FORMAT}'); write one with interactrank plan"
        )
    planned = values.get("tables")
    if not isinstance(planned, dict) or not all(isinstance(of, dict) for of in planned.values()):
        raise PlanError(f"'{path}': 'tables' must name each table, with its rows, dim, sharding and ranks")
    tables = {table.path: table for table in tables_of(model)}
    problems = [f"unknown key '{key}'{near(key, sorted(TOP_KEYS))}" for key in values if key not in TOP_KEYS]
    for key, actual in (("ranks", cluster.ranks), ("ranks_per_node", cluster.ranks_per_node)):
        if key not in values:
            problems.append(f"{key} missing")
        elif not is_whole_number(values[key]):
            problems.append(f"{key} is {json.dumps(values[key])}; write a whole number, such as {actual}")
        elif values[key] != actual:
            problems.append(f"{key} is {values[key]} in the plan and {actual} in this job")
    problems += [
        f"table {name}: not in the model{near(name, tables)}" for name in planned if name not in tables
    ]
    problems += [f"table {name}: not in the plan" for name in tables if name not in planned]
    options = []
    for name, table in tables.items():
        if name in planned:
            found = table_problems(table, planned[name], settings, cluster)
            problems += [f"table {name}: {problem}" for problem in found]
            options += [] if found else [_layout(table, planned[name], model, cluster)]
    if not problems:
        weights = {id(table.weight) for table in tables.values()}
        dense = sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in weights)
        problems = memory_problems(options, tables, settings, cluster, 4 * dense)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise PlanError(f"the plan '{path}' does not fit this model and job:{listed}")
    return to_sharding_plan(options, cluster.topology())


def _layout(table: TableInfo, of: dict[str, Any], model: nn.Module, cluster: Cluster) -> ShardingOption:
    """Return the layout of a table whose part of the plan has no problems."""
    sharding, ranks = of["sharding"], parse_ranks(of["ranks"])
    width = table.dim // column_shards(sharding, ranks, cluster)
    sizes, offsets = calculate_shard_sizes_and_offsets(
        table.weight, cluster.ranks, cluster.ranks_per_node, sharding, width
    )
    factor = of.get("cache_load_factor")
    return ShardingOption(
        name=table.name,
        tensor=table.weight,
        module=(table.collection, table_collections(model)[table.collection]),
        input_lengths=[1.0],
        batch_size=1,
        sharding_type=sharding,
        partition_by=get_partition_by_type(sharding),
        compute_kernel=of["kernel"],
        shards=[
            Shard(size=size, offset=offset, rank=rank)
            for size, offset, rank in zip(sizes, offsets, ranks, strict=True)
        ],
        cache_params=None if factor is None else CacheParams(load_factor=factor),
    )
