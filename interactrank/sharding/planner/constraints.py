"""What the planner may do with each table: the settings' constraints, checked, and sensible ones elsewhere.

Sharding types that work with these versions; on CPU each was compared with the unsharded model:

- tables of an EmbeddingBagCollection (pooled): all seven;
- tables of an EmbeddingCollection (sequence): table_wise, row_wise, column_wise; data_parallel on CUDA only,
  as FBGEMM's dense CPU kernel pools rows that must stay apart;
- managed tables of either kind: row_wise, in the device's memory, where the ranks divide the buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from torchrec.distributed.planner import ParameterConstraints
from torchrec.distributed.types import CacheParams

from interactrank.core.errors import TrainingError
from interactrank.core.settings import near
from interactrank.sharding.settings import Kernel, ShardingSettings, ShardingType, TableSharding
from interactrank.sharding.tables import TableInfo, tables_of

__all__ = [
    "TableLoad",
    "allowed_kernels",
    "allowed_types",
    "buckets_problems",
    "can_share",
    "checked_sharding",
    "leaves_ranks_empty",
    "table_constraints",
]

POOLED: list[ShardingType] = [
    "table_wise",
    "row_wise",
    "column_wise",
    "table_row_wise",
    "table_column_wise",
    "grid_shard",
    "data_parallel",
]
UNPOOLED: list[ShardingType] = ["table_wise", "row_wise", "column_wise"]


@dataclass(frozen=True)
class TableLoad:
    """What a step asks of a table, on each rank; for the expected times and the memory of batches.

    Attributes:
        rows: rows of the batch, for each of the table's features.
        ids: mean ids in a row, for each of the table's features.
    """

    rows: tuple[int, ...]
    ids: tuple[float, ...]


def allowed_types(table: TableInfo, device_type: str) -> list[ShardingType]:
    """Sharding types that work for a table on ``cpu`` or ``cuda``."""
    if table.buckets is not None:
        return ["row_wise"]
    if table.pooled:
        return list(POOLED)
    # On CPU FBGEMM's dense kernel pools the rows of a replicated sequence table.
    return list(UNPOOLED) if device_type == "cpu" else [*UNPOOLED, "data_parallel"]


def allowed_kernels(
    types: Sequence[ShardingType], device_type: str, *, managed: bool = False
) -> list[Kernel]:
    """Compute kernels that work for a table of one of these types on ``cpu`` or ``cuda``.

    Example::

        >>> allowed_kernels(["row_wise"], "cpu"), allowed_kernels(["data_parallel"], "cuda")
        (['fused'], ['dense'])
    """
    if "data_parallel" in types:
        return ["dense"]
    return ["fused"] if managed or device_type == "cpu" else ["fused", "fused_uvm_caching", "fused_uvm"]


def checked_sharding(
    model: nn.Module, settings: ShardingSettings, device_type: str
) -> dict[str, TableSharding]:
    """Table -> what the settings ask for, with its types filled in.

    Raises:
        TrainingError: the settings name a table that the model lacks, or a type or kernel that cannot work
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
        raise TrainingError("\n".join(problems))
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
    kernels = allowed_kernels(asked.types or ["table_wise"], device_type, managed=table.buckets is not None)
    unable = [k for k in asked.kernels or () if k not in kernels]
    if unable:
        reason = {
            "dense": "dense is the kernel of data_parallel alone (elsewhere its optimizer state would be "
            "lost in checkpoints)",
        }.get(unable[0], f"{', '.join(unable)} cannot run on {device_type}")
        if "data_parallel" in (asked.types or ()):
            reason = f"{', '.join(unable)} does not go with data_parallel"
        found.append(f"{place}.kernels: {reason}; allowed: {', '.join(kernels)}")
    width = asked.column_width
    if width is not None and table.dim % width:
        found.append(f"{place}.column_width: {width} does not divide the {table.dim} columns of the table")
    return found


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
    """Table -> constraints in TorchRec's form.

    Args:
        model: the unsharded model.
        settings: constraints by table.
        device_type: ``cpu`` or ``cuda``.
        ranks: of the job.
        ranks_per_node: of those on each machine.
        kernels: those that a table may have for which the settings name none.
        loads: table -> what a step asks of it; one id for each feature where it is left out.
        defaults: table -> types where the settings name none; table_wise and row_wise when left out.

    Raises:
        TrainingError: as of :func:`checked_sharding`, or a table has too few rows for its types on CPU.
    """
    result = {}
    problems = []
    asked = checked_sharding(model, settings, device_type)
    for table in tables_of(model):
        of = asked[table.name]
        types = of.types or list((defaults or {}).get(table.name, ("table_wise", "row_wise")))
        managed = table.buckets is not None
        if managed:
            types = ["row_wise"]
            problems += [f"table {table.name}: {p}" for p in buckets_problems(table, ranks)]
        filled = [t for t in types if not leaves_ranks_empty(t, table.rows, ranks, ranks_per_node)]
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
            compute_kernels=list(of.kernels or [k for k in kernels if k in possible] or possible),
            min_partition=of.column_width or _column_width(table.dim, ranks),
            cache_params=_cache(of),
            pooling_factors=list(load.ids) if load else [1.0] * len(table.features),
            batch_sizes=list(load.rows) if load else None,
        )
    if problems:
        raise TrainingError("\n".join(problems))
    return result


def buckets_problems(table: TableInfo, ranks: int) -> list[str]:
    """What keeps ranks from sharing the buckets of a managed table; nothing for another table."""
    if table.buckets is None or table.buckets % ranks == 0:
        return []
    ways = ", ".join(str(n) for n in range(1, table.buckets + 1) if table.buckets % n == 0)
    return [
        f"{ranks} ranks cannot share its {table.buckets} buckets, of which each holds whole ones; take "
        f"{ways} ranks, or prepare the log with another number of buckets for a new model"
    ]


def can_share(
    table: TableInfo, types: Sequence[ShardingType], device_type: str, ranks: int, ranks_per_node: int
) -> bool:
    """Whether so many ranks can share a table at all, whatever their memory.

    Args:
        table: its rows and buckets.
        types: of which one has to do; all, when empty.
        device_type: ``cpu`` or ``cuda``.
        ranks: of the job.
        ranks_per_node: of those on each machine.
    """
    if table.buckets is not None and table.buckets % ranks:
        return False
    types = ["row_wise"] if table.buckets is not None else types
    empty = [leaves_ranks_empty(t, table.rows, ranks, ranks_per_node) for t in types]
    return device_type != "cpu" or not empty or not all(empty)


def leaves_ranks_empty(sharding: str, rows: int, ranks: int, ranks_per_node: int) -> bool:
    """Whether a table would be split so that some rank of it has no row.

    Parts have as many rows each, rounded up, so that the last ranks may have none.

    Example::

        >>> leaves_ranks_empty("row_wise", 5, 4, 4), leaves_ranks_empty("row_wise", 7, 4, 4)
        (True, False)
    """
    over = {"row_wise": ranks, "table_row_wise": ranks_per_node, "grid_shard": ranks_per_node}.get(
        sharding, 1
    )
    return -(-rows // over) * (over - 1) >= rows


def _column_width(dim: int, ranks: int) -> int | None:
    """Width of the parts of a column-wise table: one for each rank, in steps of 4 as the kernels need."""
    widths = [w for w in range(4, dim + 1, 4) if dim % w == 0 and w * ranks >= dim]
    return widths[0] if widths else None


def _cache(of: TableSharding) -> CacheParams | None:
    return None if of.cache_load_factor is None else CacheParams(load_factor=of.cache_load_factor)
