"""ID tables over ranks: constraints, plans, sharded models. Knows no search; any TorchRec model will do.

In the order of a training: :func:`table_device` before the model is built, then :func:`make_plan` or
:func:`load_plan`, :func:`shard_model`, and :func:`write_plan` next to the checkpoints.
"""

from interactrank.sharding.errors import PlanError, ShardingError
from interactrank.sharding.planner.cluster import Cluster, Speeds, cluster_of
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.describe import PlannedTable, describe_plan, format_plan, log_plan
from interactrank.sharding.planner.offline import ModelProfile, plan_for_cluster
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.planner.plan_file import load_plan, plan_values, read_plan, write_plan
from interactrank.sharding.settings import CommsSettings, ShardingSettings, TableOptimizer, TableSharding
from interactrank.sharding.shard import shard_model
from interactrank.sharding.table_init import table_device
from interactrank.sharding.tables import TableInfo, tables_of
from interactrank.sharding.types import TYPES, ShardingType, Traits, replicated_tables

__all__ = [
    "TYPES",
    "Cluster",
    "CommsSettings",
    "ModelProfile",
    "PlanError",
    "PlannedTable",
    "ShardingError",
    "ShardingSettings",
    "ShardingType",
    "Speeds",
    "TableInfo",
    "TableLoad",
    "TableOptimizer",
    "TableSharding",
    "Traits",
    "cluster_of",
    "describe_plan",
    "format_plan",
    "load_plan",
    "log_plan",
    "make_plan",
    "plan_for_cluster",
    "plan_values",
    "read_plan",
    "replicated_tables",
    "shard_model",
    "table_device",
    "tables_of",
    "write_plan",
]
