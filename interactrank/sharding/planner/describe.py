"""A plan to read: one line for each table."""

from __future__ import annotations

import io
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from torch import nn
from torchrec.distributed.types import ShardingPlan

from interactrank.sharding.planner.rank_list import show_ranks
from interactrank.sharding.tables import tables_of
from interactrank.sharding.types import replicated_tables

__all__ = ["PlannedTable", "describe_plan", "format_plan", "log_plan", "print_whole"]

logger = logging.getLogger(__name__)

WIDE = 300  # columns of text that is not for a terminal


@dataclass(frozen=True, kw_only=True)
class PlannedTable:
    """One table of a plan, over all ranks.

    Attributes:
        table: ``collection.table``.
        rows: rows of the whole table.
        dim: width of the whole table.
        sharding: sharding type.
        kernel: compute kernel: which memory has the weights, and what updates them.
        ranks: ranks that hold a shard, in the order of the shards.
        weight_bytes: bytes of the weights over all ranks; replicas count each.
    """

    table: str
    rows: int
    dim: int
    sharding: str
    kernel: str
    ranks: tuple[int, ...]
    weight_bytes: int


def describe_plan(model: nn.Module, plan: ShardingPlan, world_size: int) -> list[PlannedTable]:
    """Return the tables of a plan.

    Args:
        model: the unsharded model.
        plan: plan of its tables.
        world_size: number of ranks that hold a replicated table.
    """
    replicated = replicated_tables(plan)
    found = []
    for table in tables_of(model):
        of = plan.plan[table.collection][table.name]
        everywhere = table.path in replicated
        found.append(
            PlannedTable(
                table=table.path,
                rows=table.rows,
                dim=table.dim,
                sharding=of.sharding_type,
                kernel=of.compute_kernel,
                ranks=tuple(range(world_size)) if everywhere else tuple(of.ranks or ()),
                weight_bytes=table.bytes * (world_size if everywhere else 1),
            )
        )
    return found


def format_plan(tables: Sequence[PlannedTable], width: int = WIDE) -> str:
    """Return the plan as text in columns; names are folded if a line would be longer than ``width``."""
    shown = Table("table", "rows x dim", "sharding", "kernel", "ranks", "bytes", title="Sharding plan")
    for of in tables:
        size, weights = f"{of.rows:,} x {of.dim}", f"{of.weight_bytes:,}"
        shown.add_row(of.table, size, of.sharding, of.kernel, show_ranks(of.ranks), weights)
    text = io.StringIO()
    _print(shown, Console(file=text, width=width))
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def log_plan(tables: Sequence[PlannedTable]) -> None:
    """Log the plan, folded to the width of the terminal if stderr is one."""
    width = shutil.get_terminal_size((WIDE, 24)).columns if sys.stderr.isatty() else WIDE
    logger.info(format_plan(tables, width))


def print_whole(table: Table, console: Console) -> None:
    """Print a table without cutting anything off: wide to a file or a pipe, in more lines to a terminal."""
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    _print(table, console)


def _print(table: Table, console: Console) -> None:
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)
