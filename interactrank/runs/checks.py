"""What will fail is said before the training: before the log is prepared, or as soon as it is."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from interactrank.core.extras import MissingExtraError, require
from interactrank.core.settings import ConfigError
from interactrank.data.errors import DatasetError
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.raw.place import Place
from interactrank.evaluation.checks import check_evaluable, check_requests
from interactrank.models import build_model
from interactrank.runs.config import RunConfig
from interactrank.runs.training import validation
from interactrank.training.preflight import check_settings

__all__ = ["check_before_start", "check_before_training"]

logger = logging.getLogger(__name__)


def check_before_start(config: RunConfig, data: str | Path | None, output: Path) -> None:
    """Check what can be known before anything is read: packages, the device, the output, a log to read.

    A missing matplotlib is only told: everything but the pictures is written without it.

    Raises:
        ConfigError: there is neither a log nor a section ``simulate``.
        MissingExtraError: a package is missing; gives the pip line.
        OSError: the output cannot be written.
        TrainingError: this machine cannot train with the settings.
    """
    if data is None and config.simulate is None:
        raise ConfigError("the config has no section simulate; give a log with --data")
    if data is not None and not Place.of(data).is_folder():
        raise DatasetError(f"'{data}' does not exist; name the log with --data")
    for package in ("pyarrow", "duckdb", "bm25s"):
        require(package, "data")
    if config.ranks > 1:
        require("torchx", "launch")
    check_settings(config.training)
    try:
        require("matplotlib", "report")
    except MissingExtraError as error:
        logger.warning("no pictures: %s", error)
    _check_writable(output)


def check_before_training(
    config: RunConfig, dataset: PreparedDataset, trained: Sequence[tuple[str, RunConfig]]
) -> None:
    """Check what a dataset must have for the models of a run, and that each model can be built.

    Args:
        config: the run's settings.
        dataset: as prepared.
        trained: model and config of each training.

    Raises:
        DatasetError: the dataset has too few requests in a split.
        ValueError: a model cannot be built.
    """
    check_requests(dataset, config.evaluation)
    if note := check_evaluable(dataset, config.evaluation):
        logger.warning("%s", note)
    for name, given in trained:
        validation(given, dataset, given.ranks)
        SearchLoader(dataset, "train", given.loader, world_size=given.ranks)
        device = torch.device("meta")
        with device:
            build_model(name, layout=dataset.layout, settings=given.model, table_device=device)


def _check_writable(output: Path) -> None:
    """Raise the error that making ``output`` and writing into it would raise."""
    nearest = next(path for path in (output.absolute(), *output.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, name another output", str(nearest))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot be written, name another output", str(nearest))
