"""What the planner may do with each table: the settings' constraints, checked, and defaults.

Which sharding types work for which kind of table is in :mod:`interactrank.sharding.types`. On CPU each was
compared with the unsharded model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from torchrec.distributed.planner import ParameterConstraints
from torchrec.distributed.types import CacheParams

from interactrank.core.settings import near
from interactrank.sharding.errors import ShardingError
from interactrank.sharding.settings import Kernel, ShardingSettings, TableSharding
from interactrank.sharding.tables import TableInfo, tables_of
from interactrank.sharding.types import TYPES, ShardingType, types_where

__all__ = [
    "TableLoad",
    "allowed_kernels",
    "allowed_types",
    "buckets_problems",
    "can_share",
    "checked_sharding",
    "table_constraints",
]


@dataclass(frozen=True)
class TableLoad:
    """What a step asks of a table, on each rank; for the expected times and the memory of batches.

    Attributes:
        rows: rows of the batch, for each of the table's features.
        ids: mean pooling factor (ids in a row), for each of the table's features.
    """

    rows: tuple[int, ...]
    ids: tuple[float, ...]


def allowed_types(table: TableInfo, device_type: str) -> list[ShardingType]:
    """Return the sharding types that work for a table on ``cpu`` or ``cuda``."""
    if table.buckets is not None:
        return types_where(managed=True)
    return [t for t, of in TYPES.items() if device_type in (of.pooled if table.pooled else of.sequence)]


def allowed_kernels(
    types: Sequence[ShardingType], device_type: str, *, managed: bool = False
) -> list[Kernel]:
    """Return the compute kernels that work for a table of one of these types on ``cpu`` or ``cuda``.

    Example::

        >>> allowed_kernels(["row_wise"], "cpu"), allowed_kernels(["data_parallel"], "cuda")
        (['fused'], ['dense'])
        >>> allowed_kernels(["row_wise", "data_parallel"], "cpu")
        ['fused', 'dense']
    """
    replicated = [TYPES[t].replicated for t in types]
    if replicated and all(replicated):
        return ["dense"]
    kernels: list[Kernel] = ["fused"]
    if not managed and device_type != "cpu":
        kernels += ["fused_uvm_caching", "fused_uvm"]
    return [*kernels, "dense"] if any(replicated) else kernels


def checked_sharding(
    model: nn.Module, settings: ShardingSettings, device_type: str
) -> dict[str, TableSharding]:
    """Return what the settings ask of every table of the model.

    Raises:
        ShardingError: the settings name a table that the model lacks, or a type or kernel that cannot work
            for it on this device; every mistake is listed.
    """
    tables = {table.name: table for table in tables_of(model)}
    problems = [
        f"training.sharding.{name}: the model has no such table{near(name, tables)}"
        for name in settings.sharding
        if name not in tables
    ]
    result = {}
    for name, table in tables.items():
        asked = settings.sharding.get(name, TableSharding())
        problems += _problems(f"training.sharding.{name}", table, asked, device_type)
        result[name] = asked
    if problems:
        raise ShardingError("\n".join(problems))
    return result


def _problems(place: str, table: TableInfo, asked: TableSharding, device_type: str) -> list[str]:
    found = []
    allowed = allowed_types(table, device_type)
    wrong = [t for t in asked.types or () if t not in allowed]
    if wrong:
        kind = "EmbeddingBagCollection" if table.pooled else "EmbeddingCollection"
        kind = kind if table.buckets is None else "ManagedCollision" + kind
        found.append(
            f"{place}.types: {', '.join(wrong)} does not work for a table of an {kind} on {device_type}; "
            f"allowed: {', '.join(allowed)}"
        )
    kernels = allowed_kernels(asked.types or (), device_type, managed=table.buckets is not None)
    unable = [k for k in asked.kernels or () if k not in kernels]
    if unable:
        found.append(
            f"{place}.kernels: {_why_not(unable, asked, device_type)}; allowed: {', '.join(kernels)}"
        )
    width = asked.column_width
    if width is not None and table.dim % width:
        found.append(f"{place}.column_width: {width} does not divide the {table.dim} columns of the table")
    return found


def _why_not(kernels: list[Kernel], asked: TableSharding, device_type: str) -> str:
    """Return why a table cannot have these kernels."""
    replicated = [t for t in asked.types or () if TYPES[t].replicated]
    if replicated and kernels[0] != "dense":
        return f"{', '.join(kernels)} does not go with {replicated[0]}"
    if kernels[0] == "dense":
        alone = ", ".join(types_where(replicated=True))
        lost = "elsewhere its optimizer state would be lost in checkpoints"
        return f"dense is the kernel of {alone} alone ({lost})"
    return f"{', '.join(kernels)} cannot run on {device_type}"


def table_constraints(
    model: nn.Module,
    settings: ShardingSettings,
    *,
    device_type: str,
    ranks: int,
    ranks_per_node: int,
    kernels: Sequence[Kernel],
    loads: Mapping[str, TableLoad] | None = None,
    defaults: Mapping[str, Sequence[ShardingType]] | None = None,
) -> dict[str, ParameterConstraints]:
    """Return the constraints of every table in TorchRec's form.

    Args:
        model: the unsharded model.
        settings: constraints by table.
        device_type: ``cpu`` or ``cuda``.
        ranks: ranks of the job.
        ranks_per_node: ranks on each node.
        kernels: those that a table may have for which the settings name none.
        loads: table -> what a step asks of it; one id for each feature of a table that is left out.
        defaults: table -> types of a table for which the settings name none; those that the planner always
            tries when left out.

    Raises:
        ShardingError: see :func:`checked_sharding`; or a table has too few rows for its types on CPU.
    """
    result = {}
    problems = []
    asked = checked_sharding(model, settings, device_type)
    for table in tables_of(model):
        of = asked[table.name]
        types = of.types or list((defaults or {}).get(table.name, types_where(planned="always")))
        managed = table.buckets is not None
        if managed:
            types = types_where(managed=True)
            problems += [f"table {table.name}: {p}" for p in buckets_problems(table, ranks)]
        if of.kernels and "dense" not in of.kernels:  # whoever asks for another kernel wants no copies
            types = [t for t in types if not TYPES[t].replicated] or types
        filled = [t for t in types if not TYPES[t].leaves_ranks_empty(table.rows, ranks, ranks_per_node)]
        if not filled and device_type == "cpu":
            problems.append(
                f"training.sharding.{table.name}.types: {', '.join(types)} of {table.rows} rows leaves ranks "
                f"without any, which FBGEMM's CPU kernels cannot hold ({ranks} ranks); add table_wise"
            )
        types = filled or types
        possible = allowed_kernels(types, device_type, managed=managed)
        load = (loads or {}).get(table.name)
        result[table.name] = ParameterConstraints(
            sharding_types=list(types),
            compute_kernels=list(of.kernels or [k for k in possible if k in (*kernels, "dense")] or possible),
            min_partition=of.column_width or _column_width(table.dim, ranks),
            cache_params=_cache(of),
            pooling_factors=list(load.ids) if load else [1.0] * len(table.features),
            batch_sizes=list(load.rows) if load else None,
        )
    if problems:
        raise ShardingError("\n".join(problems))
    return result


def buckets_problems(table: TableInfo, ranks: int) -> list[str]:
    """Return what keeps ranks from sharing the buckets of a managed table; nothing for another table."""
    if table.buckets is None or table.buckets % ranks == 0:
        return []
    ways = ", ".join(str(n) for n in range(1, table.buckets + 1) if table.buckets % n == 0)
    return [
        f"{ranks} ranks cannot share its {table.buckets} buckets, as each rank holds whole ones; take "
        f"{ways} ranks, or prepare the log with another number of buckets for a new model"
    ]


def can_share(
    table: TableInfo, types: Sequence[ShardingType], device_type: str, ranks: int, ranks_per_node: int
) -> bool:
    """Return whether this number of ranks can share a table at all, whatever their memory.

    Args:
        table: its rows and buckets.
        types: one of them has to do; any type, when empty.
        device_type: ``cpu`` or ``cuda``.
        ranks: ranks of the job.
        ranks_per_node: ranks on each node.
    """
    if table.buckets is not None and table.buckets % ranks:
        return False
    types = types_where(managed=True) if table.buckets is not None else types
    empty = [TYPES[t].leaves_ranks_empty(table.rows, ranks, ranks_per_node) for t in types]
    return device_type != "cpu" or not empty or not all(empty)


def _column_width(dim: int, ranks: int) -> int | None:
    """Return the width of the shards of a column-wise table: one a rank, in steps of 4 for the kernels."""
    widths = [w for w in range(4, dim + 1, 4) if dim % w == 0 and w * ranks >= dim]
    return widths[0] if widths else None


def _cache(of: TableSharding) -> CacheParams | None:
    return None if of.cache_load_factor is None else CacheParams(load_factor=of.cache_load_factor)
