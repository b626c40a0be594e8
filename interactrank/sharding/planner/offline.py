"""From sizes and a cluster to a written plan; needs neither GPUs nor a process group."""

from __future__ import annotations

import os
from dataclasses import dataclass

from torch import nn
from torchrec.distributed.planner.planners import to_sharding_plan

from interactrank.sharding.errors import PlanError, ShardingError
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.plan import place
from interactrank.sharding.planner.plan_file import plan_values, write_plan
from interactrank.sharding.planner.report import PlanReport, plan_report
from interactrank.sharding.planner.suggestions import sizes_of, suggest
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
    profile: ModelProfile,
    settings: ShardingSettings,
    cluster: Cluster,
    path: str | os.PathLike[str],
    *,
    suggestions: bool = False,
) -> PlanReport:
    """Plan the tables of a model for a cluster that need not be at hand, and write the plan for ``train``.

    Args:
        profile: the model without weights, and what a step asks of its tables.
        settings: constraints by table (as called in the model's collections), and the tables' optimizer.
        cluster: the nodes.
        path: JSON file of the plan.
        suggestions: whether to look for changes that make a plan possible if the tables do not fit; that
            takes the time of dozens of plans.

    Returns:
        What the plan costs.

    Raises:
        ShardingError: a constraint is impossible, or there are more than MOST_RANKS ranks.
        PlanError: the tables do not fit; says what they need, and what to change. Nothing is written.
    """
    if cluster.ranks > MOST_RANKS:
        raise ShardingError(
            f"{cluster.nodes} nodes of {cluster.ranks_per_node} are {cluster.ranks:,} ranks; at most "
            f"{MOST_RANKS:,} can be planned: take fewer with --nodes or --gpus-per-node"
        )
    model, loads, dense = profile.model, profile.loads, profile.dense_bytes
    try:
        placement = place(model, settings, cluster, loads=loads, dense_bytes=dense)
    except PlanError as error:
        lines = [str(error), *sizes_of(model, settings, cluster, dense)]
        if suggestions:
            lines += suggest(model, settings, cluster, loads, dense)
        else:
            lines.append("to look for the nearest changes that make a plan possible, add --suggest")
        raise PlanError("\n".join(lines)) from None
    report = plan_report(
        model,
        placement,
        cluster,
        settings.table_optimizer,
        dense,
        settings.copies_tables,
        placement.reasons,
    )
    plan = to_sharding_plan(placement, cluster.topology())
    ranks, per_node = cluster.ranks, cluster.ranks_per_node
    values = plan_values(model, plan, ranks=ranks, ranks_per_node=per_node, expected=report.values())
    write_plan(path, values)
    return report
