"""Which rank holds which part of which ID table: the plan of a run, made by TorchRec's planner.

A model's tables live in EmbeddingBagCollections (pooled) and EmbeddingCollections (sequences). Unless a
table's sharding is constrained it is laid out table-wise or row-wise (or row-wise within one machine, on
several machines with GPUs), whose checkpoints any number of ranks can resume.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torchrec.distributed.planner.planners import to_sharding_plan
from torchrec.distributed.planner.types import PlannerError, ShardingOption
from torchrec.distributed.types import ShardingPlan

from interactrank.core.errors import TrainingError
from interactrank.distributed.collectives import run_on_rank0
from interactrank.distributed.world import World
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import TableLoad, allowed_kernels, table_constraints
from interactrank.sharding.planner.placement import find_placement, held_bytes, planner_error_summary
from interactrank.sharding.settings import ShardingSettings, ShardingType
from interactrank.sharding.sharders import sharders
from interactrank.sharding.table_optimizer import table_optimizer
from interactrank.sharding.tables import TableInfo, tables_of

__all__ = ["PlanError", "cluster_of", "make_plan", "place", "suited_types"]

FEW_PARTS = 10_000  # tables x ranks; the planner estimates and places each part of each layout


class PlanError(TrainingError):
    """The tables cannot be laid out over the ranks."""


def make_plan(model: nn.Module, settings: ShardingSettings, world: World) -> ShardingPlan:
    """Lets TorchRec's planner lay the tables out over the ranks; rank 0 plans, all ranks get its plan.

    Args:
        model: the unsharded model.
        settings: constraints by table.
        world: the ranks.

    Raises:
        TrainingError: a constraint is impossible (PlanError: the tables do not fit into the ranks' memory).
    """
    cluster = cluster_of(world)

    def plan() -> ShardingPlan:
        placement = place(model, settings, cluster)
        return to_sharding_plan(placement, cluster.topology())

    return run_on_rank0("planning the sharding", plan)


def place(
    model: nn.Module,
    settings: ShardingSettings,
    cluster: Cluster,
    *,
    loads: Mapping[str, TableLoad] | None = None,
    dense_bytes: int = 0,
) -> list[ShardingOption]:
    """The planner's best placement; needs no process group, and tables may be on the ``meta`` device.

    Kernels are tried from the fastest on: weights in the device's memory; then, on CUDA, tables that do not
    fit there in the host's, with a cache; then without.

    Args:
        model: the unsharded model.
        settings: constraints by table, and the tables' optimizer.
        cluster: where to.
        loads: table -> what a step asks of it, on each rank.
        dense_bytes: what the dense parameters take on each rank.

    Returns:
        One option for each table, with the ranks of its parts; empty for a model without tables.

    Raises:
        TrainingError: a constraint is impossible (PlanError: the tables do not fit).
    """
    tables = tables_of(model)
    if not tables:
        return []
    optimizer, _ = table_optimizer(settings.table_optimizer, cluster.device)
    sizes = {t.name: held_bytes(t, settings.table_optimizer) for t in tables}
    kernels = allowed_kernels(["row_wise"], cluster.device)
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
            defaults=suited_types(tables, cluster, sizes, loads or {}),
        )
        try:
            return find_placement(
                model,
                constraints,
                cluster.topology(dense_bytes, settings.checkpoint_async),
                optimizer,
                sharders(settings),
                copied=settings.table_optimizer if settings.checkpoint_async else None,
            )
        except PlannerError as error:
            obstacle = planner_error_summary(error)
    raise PlanError(
        f"no sharding plan for tables {', '.join(sizes)} over {cluster}. Last obstacle: {obstacle}"
    )


def suited_types(
    tables: Sequence[TableInfo],
    cluster: Cluster,
    sizes: Mapping[str, int],
    loads: Mapping[str, TableLoad],
) -> dict[str, list[ShardingType]]:
    """Table -> sharding types to try where the user names none.

    For few tables on few ranks those are table_wise and row_wise and, on several machines with GPUs,
    table_row_wise. For many (tables x ranks above FEW_PARTS) a pooled table that takes at most a quarter
    of a rank's memory, and of its even share of the work, stays whole; others stay whole or are spread over a
    machine; only those that take more than half of a machine's memory may be spread over all ranks, where
    each rank holds a partial sum for every row of every other rank's batch.

    Args:
        tables: of the model.
        cluster: its ranks.
        sizes: table -> bytes of weights, managed ids and optimizer state.
        loads: table -> what a step asks of it; one id for each feature where it is left out.
    """
    work = {t.name: _work(t, loads.get(t.name)) for t in tables}
    hbm, ddr = cluster.usable()
    memory = max(1, hbm if cluster.device == "cuda" else ddr)
    share = sum(work.values()) / cluster.ranks
    types: dict[str, list[ShardingType]] = {}
    for t in tables:
        machines = cluster.nodes > 1 and t.pooled and cluster.device == "cuda"
        if len(tables) * cluster.ranks <= FEW_PARTS:
            types[t.name] = ["table_wise", "row_wise"]
            if machines:
                types[t.name].append("table_row_wise")
        elif sizes[t.name] <= memory / 4 and work[t.name] <= share / 4:
            types[t.name] = ["table_wise"]
        elif not machines:
            types[t.name] = ["table_wise", "row_wise"]
        elif sizes[t.name] <= memory * cluster.ranks_per_node / 2:
            types[t.name] = ["table_wise", "table_row_wise"]
        else:
            types[t.name] = ["table_row_wise", "row_wise"]
    return types


def cluster_of(world: World) -> Cluster:
    """The machines that the ranks of this job run on, taken to be all like this one.

    Where they have different numbers of ranks, each rank counts as a machine: no layout then relies on which
    ranks share one.
    """
    cuda = world.device.type == "cuda"
    alike = world.size % world.local_size == 0
    return Cluster(
        nodes=world.size // world.local_size if alike else world.size,
        ranks_per_node=world.local_size if alike else 1,
        device=world.device.type,
        hbm=torch.cuda.get_device_properties(world.device).total_memory if cuda else 0,
        ddr=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // world.local_size,
    )


def _work(table: TableInfo, load: TableLoad | None) -> float:
    """Bytes that a step reads of a table, for each rank's batch."""
    ids = sum(r * i for r, i in zip(load.rows, load.ids, strict=True)) if load else len(table.features)
    return float(ids * table.dim)
