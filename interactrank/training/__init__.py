"""The training loop: settings, optimizers, pipeline, position in the data, metrics log. Knows no search."""

from interactrank.training.data_position import Course, Loader, Position, SharedLoader
from interactrank.training.metrics_log import read_history
from interactrank.training.monitor import NonFiniteLossError
from interactrank.training.settings import DenseOptimizer, Schedule, TrainingSettings
from interactrank.training.trainer import TrainingResult, train

__all__ = [
    "Course",
    "DenseOptimizer",
    "Loader",
    "NonFiniteLossError",
    "Position",
    "Schedule",
    "SharedLoader",
    "TrainingResult",
    "TrainingSettings",
    "read_history",
    "train",
]
