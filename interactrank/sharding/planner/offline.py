"""From sizes and machines to a written plan; needs neither GPUs nor a process group."""

from __future__ import annotations

import os
from dataclasses import dataclass

from torch import nn
from torchrec.distributed.planner.planners import to_sharding_plan

from interactrank.core.errors import TrainingError
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.plan import PlanError, place
from interactrank.sharding.planner.plan_file import plan_values, write_plan
from interactrank.sharding.planner.report import PlanReport, plan_report
from interactrank.sharding.planner.suggestions import suggest
from interactrank.sharding.settings import ShardingSettings

__all__ = ["MOST_RANKS", "ModelProfile", "plan_for_cluster"]

MOST_RANKS = 16_384  # the time of a plan grows with the ranks


@dataclass(frozen=True)
class ModelProfile:
    """A model without weights, and what its training needs.

    Attributes:
        model: on the ``meta`` device, whatever the size of its tables.
        loads: table -> what a step asks of it on each rank.
        dense_bytes: weights, gradients and Adam's two moments of the dense parameters, on each rank.
    """

    model: nn.Module
    loads: dict[str, TableLoad]
    dense_bytes: int


def plan_for_cluster(
    sized: ModelProfile, settings: ShardingSettings, cluster: Cluster, path: str | os.PathLike[str]
) -> PlanReport:
    """Plans, and writes the plan for ``train``.

    Args:
        sized: the model without weights, and what a step asks of its tables.
        settings: constraints by table (as called in the model's collections), and the tables' optimizer.
        cluster: the machines.
        path: the plan's JSON file.

    Returns:
        What the plan costs.

    Raises:
        TrainingError: a constraint is impossible, or there are more than MOST_RANKS ranks.
        PlanError: the tables do not fit; names the nearest fixes. Nothing is written.
    """
    if cluster.ranks > MOST_RANKS:
        raise TrainingError(
            f"{cluster.nodes} machines of {cluster.ranks_per_node} are {cluster.ranks:,} ranks; at most "
            f"{MOST_RANKS:,} can be planned: take fewer with --nodes or --gpus-per-node"
        )
    model, loads, dense = sized.model, sized.loads, sized.dense_bytes
    try:
        placement = place(model, settings, cluster, loads=loads, dense_bytes=dense)
    except PlanError as error:
        raise suggest(error, model, settings, cluster, loads, dense) from None
    report = plan_report(
        model, placement, cluster, settings.table_optimizer, dense, settings.checkpoint_async
    )
    plan = to_sharding_plan(placement, cluster.topology())
    ranks, per_node = cluster.ranks, cluster.ranks_per_node
    values = plan_values(model, plan, ranks=ranks, ranks_per_node=per_node, expected=report.values())
    write_plan(path, values)
    return report
