"""Trained models and baselines measured on the same requests, in one pass over them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from interactrank.core.extras import MissingExtraError
from interactrank.core.settings import ConfigError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.comparison import Comparison, compare
from interactrank.evaluation.evaluator import evaluate, evaluate_many, head_index
from interactrank.evaluation.metric_frame import MetricFrame
from interactrank.evaluation.plots import plot_training_curves
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.scorers import BASELINES, CrossBlock, ModelScorer, Scorer, TrueProbabilityScorer
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import open_dataset
from interactrank.runs.run_directory import RunDirectoryError, log_overridden, open_model, read_spec
from interactrank.training.metrics_log import read_metrics

__all__ = ["Measured", "evaluate_models", "measure", "scorers_of", "write_comparison"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """The evaluation of several models on one split.

    Attributes:
        dataset: that they were measured on.
        frames: metrics per request of each model and baseline.
        predictions: of those whose scores are probabilities.
        optimum: metrics of the ranking by the true probabilities; None unless the log is simulated.
    """

    dataset: PreparedDataset
    frames: dict[str, MetricFrame]
    predictions: dict[str, Predictions]
    optimum: MetricFrame | None


def evaluate_models(config: RunConfig, data: Path, model_dirs: Sequence[Path], output: Path) -> Comparison:
    """Evaluate trained models, and the baselines that ``models`` of the config name; write the report.

    Args:
        config: the run's settings.
        data: directory of the dataset.
        model_dirs: run directories of trained models.
        output: directory of the report: ``metrics.json``, ``comparison.png``, ``training_<model>.png``.

    Returns:
        What was found, as written.

    Raises:
        DatasetError: the dataset is not what the config needs.
        RunDirectoryError: a directory does not hold a trained model, or two hold the same one.
        ConfigError: there is nothing to evaluate.
    """
    dataset = open_dataset(config, data)
    directories: dict[str, Path] = {}
    for directory in model_dirs:
        spec = read_spec(directory)
        name = "" if spec is None else spec.model  # what is wrong is told when it is opened
        if name in directories:
            raise RunDirectoryError(
                f"'{directories[name]}' and '{directory}' both hold the model {name}; compare two "
                "directories of one model by two evaluations"
            )
        directories[name] = directory
    names = [n for n in dict.fromkeys([*config.models, *directories]) if n in directories or n in BASELINES]
    if not names:
        raise ConfigError("nothing to evaluate: name trained models with --model-dir, or bm25 in models")
    measured = measure(config, dataset, {name: directories.get(name) for name in names})
    return write_comparison(config, measured, directories, output)


def measure(
    config: RunConfig, dataset: PreparedDataset, models: Mapping[str, Path | None], limit: int | None = None
) -> Measured:
    """Rank the requests of the split by every model.

    Args:
        config: the run's settings.
        dataset: that the models were trained on.
        models: key -> run directory; None for the baseline of that name.
        limit: stop after about that many requests, spread over the split.
    """
    settings = config.evaluation
    scorers = scorers_of(config, dataset, models)
    label = f"evaluate {', '.join(scorers) if len(scorers) < 4 else f'{len(scorers)} models'}"
    predictions: dict[str, Predictions] = {}
    frames = evaluate_many(scorers, dataset, settings, label=label, limit=limit, predictions=predictions)
    optimum = None
    if dataset.schema.events.true_probability is not None and settings.candidates == "logged":
        truth = TrueProbabilityScorer(dataset)
        optimum = evaluate(truth, dataset, settings, label="evaluate optimum", limit=limit)
    return Measured(dataset, frames, predictions, optimum)


def scorers_of(
    config: RunConfig, dataset: PreparedDataset, models: Mapping[str, Path | None]
) -> dict[str, Scorer]:
    """Return what ranks for each model; trained models share the look-up of cross features.

    Args:
        config: the run's settings.
        dataset: that the models were trained on.
        models: key -> run directory; None for the baseline of that name.
    """
    settings, head = config.evaluation, head_index(dataset, config.evaluation)
    opened = {key: open_model(path, dataset) for key, path in models.items() if path is not None}
    for key, (name, _) in opened.items():
        log_overridden(name, Path(str(models[key])), config)
    # Cross features are computed once for all models: on a large catalogue they cost far more than scores.
    cross = CrossBlock(dataset, {name for _, model in opened.values() for name in model.score_head.reads})
    scorers: dict[str, Scorer] = {}
    for key in models:
        if key in opened:
            scorers[key] = ModelScorer(opened[key][1], dataset, head, torch.device("cpu"), cross=cross)
        else:
            scorers[key] = BASELINES[key].factory(dataset, settings)
    return scorers


def write_comparison(
    config: RunConfig, measured: Measured, directories: Mapping[str, Path], output: Path
) -> Comparison:
    """Compare what was measured and write the report.

    Args:
        config: the run's settings.
        measured: the evaluation.
        directories: model -> run directory, whose curves are drawn.
        output: directory of the report.
    """
    comparison = compare(
        measured.frames, measured.dataset, config.evaluation, measured.optimum, measured.predictions
    )
    comparison.write(output)
    try:
        comparison.plot(output)
        for name, directory in directories.items():
            rows = read_metrics(directory / "metrics.jsonl")
            metrics = [m for m in ("validation/hit@3", "validation/mrr") if any(m in row for row in rows)]
            path, title = output / f"training_{name}.png", f"Training of {name}"
            plot_training_curves(rows, path, metrics=metrics, title=title)
    except MissingExtraError as error:
        logger.warning("no pictures: %s", error)
    return comparison
