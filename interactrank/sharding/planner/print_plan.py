"""A plan to read: one row for each table, printed."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from torch import nn
from torchrec.distributed.types import ShardingPlan

from interactrank.sharding.planner.rank_list import show_ranks
from interactrank.sharding.tables import tables_of

__all__ = ["PlanRow", "describe_plan", "print_plan", "print_whole"]

WIDE = 300  # where there is no terminal


@dataclass(frozen=True)
class PlanRow:
    """One table of a plan.

    Attributes:
        collection: path of the table's collection in the model.
        table: its name.
        rows: rows of the whole table.
        dim: width of the whole table.
        sharding: type of its layout.
        kernel: where its weights lie and what updates them.
        ranks: the ranks that hold a part, in the order of the parts.
        bytes: weights of the table over all ranks; replicas count each.
    """

    collection: str
    table: str
    rows: int
    dim: int
    sharding: str
    kernel: str
    ranks: tuple[int, ...]
    bytes: int


def describe_plan(model: nn.Module, plan: ShardingPlan, world_size: int) -> list[PlanRow]:
    """The plan as rows, one for each table.

    Args:
        model: the unsharded model.
        plan: of its tables.
        world_size: how many ranks a replicated table is on.
    """
    rows = []
    for table in tables_of(model):
        of = plan.plan[table.collection][table.name]
        replicated = of.sharding_type == "data_parallel"
        rows.append(
            PlanRow(
                table.collection,
                table.name,
                table.rows,
                table.dim,
                of.sharding_type,
                of.compute_kernel,
                tuple(range(world_size)) if replicated else tuple(of.ranks or ()),
                table.bytes * (world_size if replicated else 1),
            )
        )
    return rows


def print_plan(rows: list[PlanRow], console: Console | None = None) -> None:
    """Prints a plan as a table, to stderr unless a console is given."""
    columns = ("collection", "table", "rows x dim", "sharding", "kernel", "ranks", "bytes")
    table = Table(*columns, title="Sharding plan")
    for row in rows:
        size = f"{row.rows:,} x {row.dim}"
        ranks = show_ranks(row.ranks)
        table.add_row(row.collection, row.table, size, row.sharding, row.kernel, ranks, f"{row.bytes:,}")
    print_whole(table, console or Console(stderr=True))


def print_whole(table: Table, console: Console) -> None:
    """Prints a table without cutting anything off: wide to a file or a pipe, in more lines to a terminal."""
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)
