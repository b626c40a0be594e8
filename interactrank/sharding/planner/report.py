"""What a plan costs: bytes and milliseconds of each table and of each rank, printed and as JSON.

Times are TorchRec's estimates for a step, of the tables alone: look-up and update (compute) and the exchange
of embeddings (comms), forward and backward, and the filling of caches (prefetch). Dense layers and loading
are not in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import nn
from torchrec.distributed.planner.types import ShardingOption

from interactrank.core.output import ResultConsole
from interactrank.sharding.byte_sizes import show_bytes
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.describe import PlannedTable, print_whole
from interactrank.sharding.planner.estimators import GRADIENTS, held_bytes
from interactrank.sharding.planner.rank_list import show_ranks
from interactrank.sharding.planner.step_time import GROUP_MS, exchange_groups
from interactrank.sharding.settings import TableOptimizer
from interactrank.sharding.table_optimizer import state_bytes
from interactrank.sharding.tables import tables_of
from interactrank.sharding.types import TYPES

__all__ = ["PARTS", "PlanReport", "TableCost", "plan_report"]

PARTS = ("fwd_compute", "fwd_comms", "bwd_compute", "bwd_comms", "prefetch_compute")
SIZES = {
    "weight_bytes": "weights",
    "state_bytes": "state",
    "managed_bytes": "ids",
    "gradient_bytes": "gradients",
    "copy_bytes": "copy",
    "hbm_bytes": "HBM",
    "ddr_bytes": "DDR",
}
RARE = ("managed_bytes", "gradient_bytes", "copy_bytes")  # printed if a table has them
SHOWN_RANKS = 8  # busiest ranks that are printed


@dataclass(frozen=True, kw_only=True)
class TableCost(PlannedTable):
    """A planned table and what it costs, over all ranks.

    Attributes:
        state_bytes: optimizer state; replicas count each.
        managed_bytes: ids and counts of a managed table; 0 for another.
        gradient_bytes: gradients of a replicated table, at their peak in a step; 0 for another.
        copy_bytes: what ``training.checkpoint_async`` keeps of it in the hosts' memory; 0 without it.
        hbm_bytes: all that it takes of the GPUs' memory, with the ids and embeddings of a batch and caches.
        ddr_bytes: all that it takes of the hosts' memory.
        ms: part of a step -> time at the rank that takes longest for the table.
        why: why every rank has a copy of the table; empty for another layout.
    """

    state_bytes: int
    managed_bytes: int
    gradient_bytes: int
    copy_bytes: int
    hbm_bytes: int
    ddr_bytes: int
    ms: dict[str, float]
    why: str = ""


@dataclass(frozen=True)
class PlanReport:
    """What a plan costs.

    Attributes:
        cluster: cluster for which it was made.
        tables: costs of each table.
        hbm: [ranks] bytes of each GPU's memory.
        ddr: [ranks] bytes of the hosts' memory for each rank.
        ms: [ranks, len(PARTS)] milliseconds of a step.
        dense_bytes: what the dense parameters take on each rank, in addition to the above.
        copied: whether the hosts also hold a copy of the tables, for checkpoints.
        groups: groups of tables that exchange ids and vectors together.
    """

    cluster: Cluster
    tables: list[TableCost]
    hbm: NDArray[np.int64]
    ddr: NDArray[np.int64]
    ms: NDArray[np.float64]
    dense_bytes: int
    copied: bool = False
    groups: int = 0

    @property
    def usable(self) -> tuple[int, int]:
        """Bytes of (hbm, ddr) of a rank for tables."""
        return self.cluster.usable(self.dense_bytes, self.copied)

    @property
    def step_ms(self) -> float:
        """Expected milliseconds of a step's tables: of the busiest rank, and what the messages cost."""
        return float(self.ms.sum(axis=1).max(initial=0.0)) + self.messages_ms

    @property
    def messages_ms(self) -> float:
        """Milliseconds of a step that messages take whatever their size."""
        return self.groups * GROUP_MS[self.cluster.device] if self.cluster.ranks > 1 else 0.0

    @property
    def balance(self) -> float:
        """Mean over the ranks as a share of the busiest; 1 is perfect.

        With 0.5 half of the ranks' time is spent waiting.
        """
        total = self.ms.sum(axis=1)
        return float(total.mean() / total.max()) if total.max(initial=0.0) > 0 else 1.0

    def values(self) -> dict[str, Any]:
        """Return the section ``expected`` of a plan's file, in JSON's types."""
        return {
            "cluster": {**asdict(self.cluster), "speeds": asdict(self.cluster.rates)},
            "dense_bytes_per_rank": self.dense_bytes,
            "step_ms": round(self.step_ms, 4),
            "messages_ms": round(self.messages_ms, 4),
            "balance": round(self.balance, 4),
            "tables": {
                cost.table: {
                    **{key: getattr(cost, key) for key in SIZES},
                    "ms": {part: round(ms, 4) for part, ms in cost.ms.items()},
                    **({"why": cost.why} if cost.why else {}),
                }
                for cost in self.tables
            },
            "ranks": {
                "hbm_bytes": self.hbm.tolist(),
                "ddr_bytes": self.ddr.tolist(),
                "ms": {part: self.ms[:, i].round(4).tolist() for i, part in enumerate(PARTS)},
            },
        }

    def show(self, console: Console | None = None) -> None:
        """Print the tables, the busiest ranks and a line on the whole."""
        console = console or ResultConsole()
        kinds = [kind for kind in SIZES if kind not in RARE or any(getattr(c, kind) for c in self.tables)]
        columns = ("table", "rows x dim", "sharding", "kernel", "ranks", *(SIZES[kind] for kind in kinds))
        table = Table(*columns, "ms", title=f"Plan for {self.cluster}")
        for cost in self.tables:
            table.add_row(
                cost.table,
                f"{cost.rows:,} x {cost.dim}",
                cost.sharding,
                cost.kernel,
                show_ranks(cost.ranks),
                *(show_bytes(getattr(cost, kind)) for kind in kinds),
                f"{sum(cost.ms.values()):,.3f}",
            )
        print_whole(table, console)
        for cost in self.tables:
            if cost.why:
                console.print(f"{cost.table} is on every rank: {cost.why}", soft_wrap=True)
        total = self.ms.sum(axis=1)
        order = np.argsort(-total, kind="stable")
        ranks = Table("rank", "HBM", "DDR", *PARTS, "ms", title="Ranks, the busiest first")
        for rank in order[:SHOWN_RANKS]:
            times = (f"{ms:,.3f}" for ms in (*self.ms[rank], total[rank]))
            ranks.add_row(str(rank), show_bytes(self.hbm[rank]), show_bytes(self.ddr[rank]), *times)
        if len(order) > SHOWN_RANKS:
            ranks.caption = f"and {len(order) - SHOWN_RANKS} less busy ranks"
        print_whole(ranks, console)
        usable = dict(zip(("hbm", "ddr"), self.usable, strict=True))
        of = self.cluster.memory
        most = int((self.hbm if of == "hbm" else self.ddr).max(initial=0))
        console.print(
            f"tables take {self.step_ms:,.3f} ms of a step (estimated, {self.messages_ms:.3g} of it for "
            f"messages of any size), balance {self.balance:.0%}; the fullest rank needs "
            f"{show_bytes(most)} of {show_bytes(usable[of])} of {of.upper()} for tables",
            soft_wrap=True,
        )


def plan_report(
    model: nn.Module,
    placement: Sequence[ShardingOption],
    cluster: Cluster,
    optimizer: TableOptimizer,
    dense_bytes: int = 0,
    copied: bool = False,
    reasons: Mapping[str, str] | None = None,
) -> PlanReport:
    """Return what a placement costs.

    Args:
        model: the unsharded model.
        placement: placement that :func:`~interactrank.sharding.planner.plan.place` returned.
        cluster: cluster for which it was made.
        optimizer: optimizer of the tables.
        dense_bytes: what the dense parameters take on each rank.
        copied: whether the hosts also hold a copy of the tables (``training.checkpoint_async``).
        reasons: table -> why every rank has a copy of it.
    """
    hbm, ddr = np.zeros(cluster.ranks, np.int64), np.zeros(cluster.ranks, np.int64)
    ms = np.zeros((cluster.ranks, len(PARTS)))
    options = {(option.path, option.name): option for option in placement}
    tables = []
    for table in tables_of(model):
        option = options[table.collection, table.name]
        ranks = np.array([shard.rank for shard in option.shards])
        times = np.array([[getattr(shard.perf, part) for part in PARTS] for shard in option.shards])
        own = np.zeros_like(ms)
        np.add.at(own, ranks, times)
        np.add.at(hbm, ranks, np.array([shard.storage.hbm for shard in option.shards], np.int64))
        np.add.at(ddr, ranks, np.array([shard.storage.ddr for shard in option.shards], np.int64))
        ms += own
        replicated = TYPES[option.sharding_type].replicated
        replicas = cluster.ranks if replicated else 1
        column_parts = 1 if replicas > 1 else len({shard.offset[1] for shard in option.shards})
        busiest = own[own.sum(axis=1).argmax()]
        tables.append(
            TableCost(
                table=table.path,
                rows=table.rows,
                dim=table.dim,
                sharding=option.sharding_type,
                kernel=option.compute_kernel,
                ranks=tuple(int(rank) for rank in ranks),
                weight_bytes=table.bytes * replicas,
                state_bytes=state_bytes(table, optimizer, column_parts) * replicas,
                managed_bytes=table.managed_bytes,
                gradient_bytes=GRADIENTS * table.bytes * replicas if replicated else 0,
                copy_bytes=held_bytes(table, optimizer, column_parts) * replicas if copied else 0,
                hbm_bytes=option.total_storage.hbm,
                ddr_bytes=option.total_storage.ddr,
                ms=dict(zip(PARTS, map(float, busiest), strict=True)),
                why=(reasons or {}).get(table.path, ""),
            )
        )
    return PlanReport(cluster, tables, hbm, ddr, ms, dense_bytes, copied, exchange_groups(placement))
