"""A plan as a JSON file: written by ``interactrank plan`` and by every training, edited by hand, trained by.

What a training reads of it is ``ranks``, ``ranks_per_node`` and, of each table, its shape, sharding, kernel
and ranks; all else (``expected``) is for people. The sizes of the parts follow from the ranks: column-wise,
a table has as many parts of columns as ranks; the others are told how many ranks they need.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

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
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import (
    allowed_kernels,
    allowed_types,
    buckets_problems,
    leaves_ranks_empty,
)
from interactrank.sharding.planner.plan import PlanError, cluster_of
from interactrank.sharding.planner.rank_list import parse_ranks, show_ranks
from interactrank.sharding.settings import Kernel, ShardingSettings, ShardingType, TableSharding
from interactrank.sharding.tables import TableInfo, table_collections, tables_of

__all__ = ["load_plan", "plan_values", "read_plan", "write_plan"]

FORMAT = "interactrank plan 1"
TOP_KEYS = {"format", "ranks", "ranks_per_node", "tables", "expected"}
KEYS = {"rows", "dim", "sharding", "kernel", "ranks"}
BY_COLUMN = ("column_wise", "table_column_wise", "grid_shard")


def plan_values(
    model: nn.Module, plan: ShardingPlan, *, ranks: int, ranks_per_node: int, expected: Any = None
) -> dict[str, Any]:
    """A plan in JSON's types.

    Args:
        model: the unsharded model.
        plan: of its tables.
        ranks: of the job.
        ranks_per_node: of those on each machine.
        expected: what a reader may want to know of the plan; nothing reads it back.
    """
    tables = {}
    for table in tables_of(model):
        of = plan.plan[table.collection][table.name]
        replicated = of.sharding_type == "data_parallel"
        tables[table.path] = {
            "rows": table.rows,
            "dim": table.dim,
            "sharding": of.sharding_type,
            "kernel": of.compute_kernel,
            "ranks": show_ranks(range(ranks) if replicated else of.ranks or ()),
        }
        if of.cache_params is not None and of.cache_params.load_factor is not None:
            tables[table.path]["cache_load_factor"] = of.cache_params.load_factor
    values = {"format": FORMAT, "ranks": ranks, "ranks_per_node": ranks_per_node, "tables": tables}
    return values if expected is None else {**values, "expected": expected}


def write_plan(path: str | os.PathLike[str], values: Mapping[str, Any]) -> Path:
    """Writes what :func:`plan_values` gave, whole or not at all."""
    return atomic_write_text(path, json.dumps(values, indent=1) + "\n")


def load_plan(
    path: str | os.PathLike[str], model: nn.Module, settings: ShardingSettings, world: World
) -> ShardingPlan:
    """The plan of a file, for this model on these ranks. All ranks must call it; rank 0 reads the file.

    Raises:
        PlanError: the file cannot be read, or its plan does not fit (on other ranks a RankError quotes it).
    """
    cluster = cluster_of(world)
    return run_on_rank0(f"reading the plan {path}", lambda: read_plan(path, model, settings, cluster))


def read_plan(
    path: str | os.PathLike[str], model: nn.Module, settings: ShardingSettings, cluster: Cluster
) -> ShardingPlan:
    """The plan of a file, for this model on this cluster; needs no process group.

    Raises:
        PlanError: the file cannot be read, or lists everything in it that does not fit, by table.
    """
    try:
        values = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot read the plan '{path}': {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise PlanError(f"'{path}' is no plan ('format' is not '{FORMAT}'); write one with interactrank plan")
    planned = values.get("tables")
    if not isinstance(planned, dict) or not all(isinstance(of, dict) for of in planned.values()):
        raise PlanError(f"'{path}': 'tables' must name each table, with its rows, dim, sharding and ranks")
    tables = {table.path: table for table in tables_of(model)}
    problems = [f"unknown key '{key}'{near(key, sorted(TOP_KEYS))}" for key in values if key not in TOP_KEYS]
    for key, actual in (("ranks", cluster.ranks), ("ranks_per_node", cluster.ranks_per_node)):
        if key not in values:
            problems.append(f"{key} missing")
        elif not _whole(values[key]):
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
            found, option = _option(table, planned[name], model, settings, cluster)
            problems += [f"table {name}: {problem}" for problem in found]
            options += [option] if option else []
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise PlanError(f"the plan '{path}' does not fit this model and job:{listed}")
    return to_sharding_plan(options, cluster.topology())


def _option(
    table: TableInfo, of: dict[str, Any], model: nn.Module, settings: ShardingSettings, cluster: Cluster
) -> tuple[list[str], ShardingOption | None]:
    """What is wrong with a table's part of the plan, or its layout."""
    missing = sorted(KEYS - of.keys())
    if missing:
        return [f"{', '.join(missing)} missing"], None
    unknown = sorted(of.keys() - KEYS - {"cache_load_factor"})
    found = [f"unknown key '{key}'{near(key, sorted(KEYS))}" for key in unknown]
    no_number = [key for key in ("rows", "dim") if not _whole(of[key])]
    found += [f"{key} is {json.dumps(of[key])}; write a whole number" for key in no_number]
    if not no_number and (of["rows"], of["dim"]) != (table.rows, table.dim):
        found.append(f"{of['rows']} x {of['dim']} in the plan, {table.rows} x {table.dim} in the model")
    types = allowed_types(table, cluster.device)
    if of["sharding"] not in types:
        why = f"does not work for it on {cluster.device}; allowed: {', '.join(types)}"
        if of["sharding"] not in get_args(ShardingType):
            why = f"is unknown{near(str(of['sharding']), types)}"
        return [*found, f"sharding '{of['sharding']}' {why}"], None
    asked = settings.sharding.get(table.name, TableSharding())
    if asked.types and of["sharding"] not in asked.types:
        found.append(f"{of['sharding']}, where training.sharding asks for {', '.join(asked.types)}")
    found += buckets_problems(table, cluster.ranks)
    kernels: Sequence[Kernel] = allowed_kernels(
        [of["sharding"]], cluster.device, managed=table.buckets is not None
    )
    if of["kernel"] not in kernels:
        found.append(
            f"kernel '{of['kernel']}' cannot run {of['sharding']} on {cluster.device}; allowed: "
            f"{', '.join(kernels)}"
        )
    elif asked.kernels and of["kernel"] not in asked.kernels:
        found.append(f"kernel {of['kernel']}, where training.sharding asks for {', '.join(asked.kernels)}")
    factor = of.get("cache_load_factor")
    share = isinstance(factor, int | float) and not isinstance(factor, bool) and 0 < factor <= 1
    if factor is not None and (of["kernel"] != "fused_uvm_caching" or not share):
        found.append(
            f"cache_load_factor {json.dumps(factor)}: goes with fused_uvm_caching, above 0 and at most 1"
        )
    elif asked.cache_load_factor not in (None, factor):
        found.append(
            f"{'no cache_load_factor' if factor is None else f'cache_load_factor {factor}'}, where "
            f"training.sharding asks for {asked.cache_load_factor}"
        )
    try:
        ranks = parse_ranks(of["ranks"])
    except ValueError as error:
        return [*found, str(error)], None
    outside = [rank for rank in ranks if rank >= cluster.ranks]
    if outside:
        found.append(f"ranks {show_ranks(outside)} are outside of this job's {cluster.ranks} (from 0)")
    wrong = _ranks_problem(of["sharding"], ranks, table, cluster)
    width = table.dim // _column_parts(of["sharding"], ranks, cluster)
    if not wrong and of["sharding"] in BY_COLUMN and asked.column_width not in (None, width):
        found.append(f"parts of {width} columns, where training.sharding asks for {asked.column_width}")
    per_node = cluster.ranks_per_node
    if cluster.device == "cpu" and leaves_ranks_empty(of["sharding"], table.rows, cluster.ranks, per_node):
        found.append(
            f"{of['sharding']} leaves ranks without a row, which CPU kernels cannot hold; use table_wise"
        )
    if wrong or found:
        return [*found, *([wrong] if wrong and not outside else [])], None
    return [], _layout(table, of, ranks, model, cluster)


def _ranks_problem(sharding: str, ranks: list[int], table: TableInfo, cluster: Cluster) -> str | None:
    """What is wrong with the ranks of a table of this sharding."""
    size = cluster.ranks_per_node
    nodes = [ranks[start : start + size] for start in range(0, len(ranks), size)]
    whole_nodes = all(part == list(range(part[0], part[0] + size)) and part[0] % size == 0 for part in nodes)
    if sharding == "table_wise" and len(ranks) != 1:
        return f"table_wise needs one rank, not {len(ranks)}"
    if sharding in ("row_wise", "data_parallel") and ranks != list(range(cluster.ranks)):
        return f"{sharding} needs all ranks in order, '{show_ranks(range(cluster.ranks))}'"
    if sharding == "table_row_wise" and (len(nodes) != 1 or not whole_nodes):
        example = show_ranks(range(size))
        return f"table_row_wise needs the {size} ranks of one machine in order, such as '{example}'"
    if sharding == "grid_shard" and not whole_nodes:
        return f"grid_shard needs whole machines, each {size} ranks in order"
    if sharding == "table_column_wise" and len({rank // size for rank in ranks}) > 1:
        return f"table_column_wise needs ranks of one machine ({size} each)"
    parts = _column_parts(sharding, ranks, cluster)
    if sharding in BY_COLUMN and (table.dim % parts or table.dim // parts % 4):
        return f"{table.dim} columns do not make {parts} parts whose width is a multiple of 4"
    return None


def _column_parts(sharding: str, ranks: list[int], cluster: Cluster) -> int:
    """Parts side by side, where a table of this sharding is split by columns."""
    return max(1, len(ranks) // (cluster.ranks_per_node if sharding == "grid_shard" else 1))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _layout(
    table: TableInfo, of: dict[str, Any], ranks: list[int], model: nn.Module, cluster: Cluster
) -> ShardingOption:
    sharding = of["sharding"]
    column_parts = _column_parts(sharding, ranks, cluster)
    sizes, offsets = calculate_shard_sizes_and_offsets(
        table.weight, cluster.ranks, cluster.ranks_per_node, sharding, table.dim // column_parts
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
