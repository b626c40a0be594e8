"""Sharded training: process group, sharding plan, optimizers, checkpoints and the loop."""

from interactrank.training.checkpoint import CheckpointStore
from interactrank.training.course import Course, Loader, Position, SharedLoader
from interactrank.training.distributed import RankError, World, current_world, process_group
from interactrank.training.errors import TrainingError
from interactrank.training.history import read_history
from interactrank.training.manifest import CheckpointError
from interactrank.training.monitor import NonFiniteLoss
from interactrank.training.planning.cluster import Cluster
from interactrank.training.planning.file import load_plan, read_plan, write_plan
from interactrank.training.planning.plan import PlanError, make_plan
from interactrank.training.planning.table import describe_plan, print_plan
from interactrank.training.preemption import EXIT_PREEMPTED, Preempted
from interactrank.training.settings import (
    CommsSettings,
    DenseOptimizer,
    Schedule,
    TableOptimizer,
    TableSharding,
    TrainingSettings,
)
from interactrank.training.sharding import shard_model
from interactrank.training.trainer import TrainingResult, train
from interactrank.training.weights import WeightsError, load_model, save_model

__all__ = [
    "EXIT_PREEMPTED",
    "CheckpointError",
    "CheckpointStore",
    "Cluster",
    "CommsSettings",
    "Course",
    "DenseOptimizer",
    "Loader",
    "NonFiniteLoss",
    "PlanError",
    "Position",
    "Preempted",
    "RankError",
    "Schedule",
    "SharedLoader",
    "TableOptimizer",
    "TableSharding",
    "TrainingError",
    "TrainingResult",
    "TrainingSettings",
    "WeightsError",
    "World",
    "current_world",
    "describe_plan",
    "load_model",
    "load_plan",
    "make_plan",
    "print_plan",
    "process_group",
    "read_history",
    "read_plan",
    "save_model",
    "shard_model",
    "train",
    "write_plan",
]
