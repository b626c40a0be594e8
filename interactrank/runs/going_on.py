"""A training that goes on from a trained model: which checkpoint holds it, and whether it fits."""

from __future__ import annotations

from pathlib import Path

from interactrank.checkpoint.manifest import complete_checkpoints
from interactrank.core.settings import parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.runs.config import RunConfig
from interactrank.runs.run_directory import SPEC, RunDirectoryError, changed_settings, trained_spec
from interactrank.training.metrics_log import read_metrics
from interactrank.training.settings import TrainingSettings

__all__ = ["checkpoint_to_go_on_from"]


def checkpoint_to_go_on_from(
    directory: Path, model: str, config: RunConfig, dataset: PreparedDataset
) -> Path:
    """Return the checkpoint of a trained model's weights.

    Args:
        directory: run directory of the trained model.
        model: name of the model to train.
        config: that it is trained with, of :meth:`RunConfig.for_model`.
        dataset: that it is trained on.

    Raises:
        RunDirectoryError: there is no trained model, it is of a dataset of another lineage, or of one that
            has grown further; it has another name or other settings; or its checkpoint is gone.
    """
    spec = trained_spec(directory, dataset)
    if spec.dataset not in dataset.lineage:
        raise RunDirectoryError(
            f"the model in '{directory}' was trained on a later dataset than '{dataset.folder}'; go on with "
            "one that has grown from it"
        )
    own = {"model": model, "settings": config.model_dump(mode="json", by_alias=True)["model"]}
    if differences := changed_settings({"model": spec.model, "settings": spec.settings["model"]}, own):
        raise RunDirectoryError(
            f"the model in '{directory}' cannot go on with other settings: {'; '.join(differences)}"
        )
    found = complete_checkpoints(directory / "checkpoints")
    stopping = parse_config(TrainingSettings, spec.settings["training"], str(directory / SPEC)).early_stopping
    if stopping is not None:  # the model is that of the best validation
        best = stopping.progress(read_metrics(directory / "metrics.jsonl")).best_step
        found = [path for path in found if path.name == f"step_{best:010d}"]
    if not found:
        raise RunDirectoryError(
            f"'{directory}' has no checkpoint of its model, whose optimizer state training goes on from"
        )
    return found[-1]
