"""The plan of a run: which rank holds which shard of each ID table, made by TorchRec's planner.

A model's tables are in EmbeddingBagCollections (pooled) and EmbeddingCollections (sequences). A table whose
sharding is not constrained becomes table-wise, row-wise (or row-wise within one node, on several nodes with
GPUs) or, if it is small, a copy on every rank: whatever the estimate says is fastest. Checkpoints of these
types can be resumed by any number of ranks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import nn
from torchrec.distributed.planner.planners import to_sharding_plan
from torchrec.distributed.planner.types import PlannerError
from torchrec.distributed.types import ShardingPlan

from interactrank.distributed.collectives import run_on_rank0
from interactrank.distributed.world import World
from interactrank.sharding.errors import PlanError
from interactrank.sharding.planner.cluster import Cluster, cluster_of
from interactrank.sharding.planner.constraints import TableLoad, allowed_kernels, table_constraints
from interactrank.sharding.planner.estimators import held_bytes
from interactrank.sharding.planner.placement import Placement, find_placement, planner_error_summary
from interactrank.sharding.planner.replication import replicable
from interactrank.sharding.planner.suited import suited_types
from interactrank.sharding.settings import ShardingSettings
from interactrank.sharding.sharders import sharders
from interactrank.sharding.table_optimizer import table_optimizer
from interactrank.sharding.tables import tables_of

__all__ = ["make_plan", "place"]

logger = logging.getLogger(__name__)


def make_plan(
    model: nn.Module,
    settings: ShardingSettings,
    world: World,
    *,
    loads: Mapping[str, TableLoad] | None = None,
) -> ShardingPlan:
    """Plan the tables of a model on rank 0 and return the plan on every rank. All ranks must call it.

    Args:
        model: the unsharded model.
        settings: constraints by table.
        world: the ranks.
        loads: table -> what a step asks of it, on each rank; see :func:`place`.

    Raises:
        ShardingError: a constraint is impossible (PlanError: the tables do not fit into the ranks' memory).
    """
    cluster = cluster_of(world)

    def plan() -> ShardingPlan:
        placement = place(model, settings, cluster, loads=loads)
        for table, reason in placement.reasons.items():
            logger.info("table %s is on every rank: %s", table, reason)
        return to_sharding_plan(placement, cluster.topology())

    return run_on_rank0("planning the sharding", plan)


def place(
    model: nn.Module,
    settings: ShardingSettings,
    cluster: Cluster,
    *,
    loads: Mapping[str, TableLoad] | None = None,
    dense_bytes: int = 0,
) -> Placement:
    """Return the planner's best placement; needs no process group, and tables may be on the ``meta`` device.

    Kernels are tried from the fastest on: weights in the device's memory; then, on CUDA, tables that do not
    fit there in the host's, with a cache; then without.

    Args:
        model: the unsharded model.
        settings: constraints by table, and the tables' optimizer.
        cluster: the nodes.
        loads: table -> what a step asks of it, on each rank.
        dense_bytes: what the dense parameters take on each rank.

    Returns:
        One option for each table, with the ranks of its shards, and why tables are replicated; empty for a
        model without tables.

    Raises:
        ShardingError: a constraint is impossible (PlanError: the tables do not fit).
    """
    tables = tables_of(model)
    if not tables:
        return Placement()
    optimizer, _ = table_optimizer(settings.table_optimizer, cluster.device)
    copies = replicable(tables, cluster, settings.table_optimizer, loads or {})
    sizes = {t.name: held_bytes(t, settings.table_optimizer) for t in tables}
    kernels = allowed_kernels((), cluster.device)
    obstacle = ""
    for number in range(1, len(kernels) + 1):
        constraints = table_constraints(
            model,
            settings,
            device_type=cluster.device,
            ranks=cluster.ranks,
            ranks_per_node=cluster.ranks_per_node,
            kernels=kernels[:number],
            loads=loads,
            defaults=suited_types(tables, cluster, sizes, loads or {}, copies),
        )
        try:
            return find_placement(
                model,
                constraints,
                cluster.topology(dense_bytes, settings.copies_tables),
                optimizer,
                sharders(settings),
                copied=settings.table_optimizer if settings.copies_tables else None,
            )
        except PlannerError as error:
            obstacle = planner_error_summary(error)
    raise PlanError(
        f"no sharding plan for tables {', '.join(sizes)} over {cluster}. Last obstacle: {obstacle}"
    )
