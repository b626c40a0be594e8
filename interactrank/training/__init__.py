"""The training loop: settings, optimizers, pipeline, position in the data, metrics log. Knows no search."""

from interactrank.training.data_position import DataPosition, DataSchedule, Loader, PartitionableLoader
from interactrank.training.metrics_log import read_metrics
from interactrank.training.monitor import NonFiniteLossError
from interactrank.training.settings import DenseOptimizer, LearningRateSchedule, TrainingSettings
from interactrank.training.trainer import TrainingResult, train

__all__ = [
    "DataPosition",
    "DataSchedule",
    "DenseOptimizer",
    "LearningRateSchedule",
    "Loader",
    "NonFiniteLossError",
    "PartitionableLoader",
    "TrainingResult",
    "TrainingSettings",
    "read_metrics",
    "train",
]
