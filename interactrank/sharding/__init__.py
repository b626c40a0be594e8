"""ID tables over ranks: constraints, plans, sharded models. Knows no search; any TorchRec model will do."""

from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.plan import PlanError, make_plan
from interactrank.sharding.planner.plan_file import load_plan, read_plan, write_plan
from interactrank.sharding.planner.print_plan import describe_plan, print_plan
from interactrank.sharding.settings import CommsSettings, ShardingSettings, TableOptimizer, TableSharding
from interactrank.sharding.shard import shard_model

__all__ = [
    "Cluster",
    "CommsSettings",
    "PlanError",
    "ShardingSettings",
    "TableOptimizer",
    "TableSharding",
    "describe_plan",
    "load_plan",
    "make_plan",
    "print_plan",
    "read_plan",
    "shard_model",
    "write_plan",
]
