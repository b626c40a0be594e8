"""The training loop and its parts, for any TorchRec model: optimizers, pipeline, data schedule, metrics log.

:func:`train` runs a whole training. A loop of one's own calls :func:`setup`, or joins the parts itself.
"""

from interactrank.checkpoint.rng import seed_everything
from interactrank.core.epoch_partition import EpochPartition, Ranges
from interactrank.core.tensor_batch import TensorBatch
from interactrank.training.batch_protocol import Batch
from interactrank.training.data_position import (
    DataPosition,
    DataSchedule,
    Loader,
    PartitionableLoader,
    Segment,
)
from interactrank.training.metrics_log import MetricsLogger, read_metrics
from interactrank.training.monitor import NonFiniteLossError, check_finite_state
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.pipeline import Pipeline, StepResult, make_pipeline
from interactrank.training.preflight import check_settings
from interactrank.training.session import Session, setup
from interactrank.training.settings import DenseOptimizer, LearningRateSchedule, TrainingSettings
from interactrank.training.trainer import TrainingResult, Validate, train

__all__ = [
    "Batch",
    "DataPosition",
    "DataSchedule",
    "DenseOptimizer",
    "EpochPartition",
    "LearningRateSchedule",
    "Loader",
    "MetricsLogger",
    "NonFiniteLossError",
    "PartitionableLoader",
    "Pipeline",
    "Ranges",
    "Segment",
    "Session",
    "StepResult",
    "TensorBatch",
    "TrainingOptimizer",
    "TrainingResult",
    "TrainingSettings",
    "Validate",
    "build_optimizer",
    "check_finite_state",
    "check_settings",
    "make_pipeline",
    "read_metrics",
    "seed_everything",
    "setup",
    "train",
]
