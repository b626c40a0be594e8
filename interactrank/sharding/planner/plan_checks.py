"""What is wrong with a table's part of a plan file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from interactrank.core.settings import near
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import allowed_kernels, allowed_types, buckets_problems
from interactrank.sharding.planner.rank_list import parse_ranks, show_ranks
from interactrank.sharding.planner.rank_rules import column_shards, ranks_problem
from interactrank.sharding.settings import ShardingSettings, TableSharding
from interactrank.sharding.tables import TableInfo
from interactrank.sharding.types import TYPES

__all__ = ["KEYS", "is_whole_number", "table_problems"]

KEYS = {"rows", "dim", "sharding", "kernel", "ranks"}


def table_problems(
    table: TableInfo, of: dict[str, Any], settings: ShardingSettings, cluster: Cluster
) -> list[str]:
    """Return everything that is wrong with a table's part of a plan.

    Args:
        table: the model's table.
        of: its part of the plan.
        settings: constraints that the plan must keep.
        cluster: cluster of the job.
    """
    missing = sorted(KEYS - of.keys())
    if missing:
        return [f"{', '.join(missing)} missing"]
    unknown = sorted(of.keys() - KEYS - {"cache_load_factor"})
    found = [f"unknown key '{key}'{near(key, sorted(KEYS))}" for key in unknown]
    found += _shape_problems(table, of)
    types = allowed_types(table, cluster.device)
    if of["sharding"] not in types:
        why = f"does not work for it on {cluster.device}; allowed: {', '.join(types)}"
        if of["sharding"] not in TYPES:
            why = f"is unknown{near(str(of['sharding']), types)}"
        return [*found, f"sharding '{of['sharding']}' {why}"]
    asked = settings.sharding.get(table.name, TableSharding())
    if asked.types and of["sharding"] not in asked.types:
        found.append(f"{of['sharding']}, but training.sharding asks for {', '.join(asked.types)}")
    found += buckets_problems(table, cluster.ranks)
    found += _kernel_problems(table, of, asked, cluster)
    found += _cache_problems(of, asked)
    return [*found, *_ranks_problems(table, of, asked, cluster)]


def _shape_problems(table: TableInfo, of: dict[str, Any]) -> list[str]:
    wrong = [key for key in ("rows", "dim") if not is_whole_number(of[key])]
    if wrong:
        return [f"{key} is {json.dumps(of[key])}; write a whole number" for key in wrong]
    if (of["rows"], of["dim"]) != (table.rows, table.dim):
        return [f"{of['rows']} x {of['dim']} in the plan, {table.rows} x {table.dim} in the model"]
    return []


def _kernel_problems(
    table: TableInfo, of: dict[str, Any], asked: TableSharding, cluster: Cluster
) -> Iterator[str]:
    kernels = allowed_kernels([of["sharding"]], cluster.device, managed=table.buckets is not None)
    if of["kernel"] not in kernels:
        yield (
            f"kernel '{of['kernel']}' cannot run {of['sharding']} on {cluster.device}; allowed: "
            f"{', '.join(kernels)}"
        )
    elif asked.kernels and of["kernel"] not in asked.kernels:
        yield f"kernel {of['kernel']}, but training.sharding asks for {', '.join(asked.kernels)}"


def _cache_problems(of: dict[str, Any], asked: TableSharding) -> Iterator[str]:
    factor = of.get("cache_load_factor")
    share = isinstance(factor, int | float) and not isinstance(factor, bool) and 0 < factor <= 1
    if factor is not None and (of["kernel"] != "fused_uvm_caching" or not share):
        yield f"cache_load_factor {json.dumps(factor)}: goes with fused_uvm_caching, above 0 and at most 1"
    elif asked.cache_load_factor not in (None, factor):
        yield (
            f"{'no cache_load_factor' if factor is None else f'cache_load_factor {factor}'}, but "
            f"training.sharding asks for {asked.cache_load_factor}"
        )


def _ranks_problems(
    table: TableInfo, of: dict[str, Any], asked: TableSharding, cluster: Cluster
) -> Iterator[str]:
    try:
        ranks = parse_ranks(of["ranks"])
    except ValueError as error:
        yield str(error)
        return
    sharding = of["sharding"]
    outside = [rank for rank in ranks if rank >= cluster.ranks]
    if outside:
        yield f"ranks {show_ranks(outside)} are outside of this job's {cluster.ranks} (from 0)"
    wrong = ranks_problem(sharding, ranks, table, cluster)
    width = table.dim // column_shards(sharding, ranks, cluster)
    if not wrong and TYPES[sharding].splits_columns and asked.column_width not in (None, width):
        yield f"shards of {width} columns, but training.sharding asks for {asked.column_width}"
    per_node = cluster.ranks_per_node
    if cluster.device == "cpu" and TYPES[sharding].leaves_ranks_empty(table.rows, cluster.ranks, per_node):
        yield f"{sharding} leaves ranks without a row, which CPU kernels cannot hold; use table_wise"
    if wrong and not outside:
        yield wrong


def is_whole_number(value: object) -> bool:
    """Return whether a value of a JSON file is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)
