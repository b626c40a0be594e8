"""An ablation: prepare a log once, train every variant of the grid with every seed, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interactrank.core.errors import UserError
from interactrank.core.extras import MissingExtraError
from interactrank.core.files import atomic_write_text
from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.evaluator import users
from interactrank.evaluation.metric_frame import MetricFrame, count_requests
from interactrank.experiments.findings import METRIC
from interactrank.experiments.page import markdown
from interactrank.experiments.plots import plot_ablation
from interactrank.experiments.report import ablation_report
from interactrank.experiments.variants import Variant, ablation_grid, select
from interactrank.runs.config import RunConfig
from interactrank.runs.workflow import Launch, Training, execute

__all__ = ["AblationError", "ablate", "check_complete"]

logger = logging.getLogger(__name__)


class AblationError(UserError, RuntimeError):
    """Models of the grid that could not be trained; the message names them."""


def ablate(
    config: RunConfig,
    data: str | Path | None,
    output: Path,
    *,
    seeds: int = 3,
    only: Sequence[str] = (),
    launch: Launch | None = None,
) -> dict[str, Any]:
    """Train the grid of a config on one log with several seeds; write what each part is worth.

    What an earlier start into the same directory has trained is kept if it would come out the same. A model
    that fails does not stop the others; :func:`check_complete` raises for it.

    Args:
        config: of the full model; the grid replaces its ``models`` and ``variants``. Nothing is evaluated
            while training.
        data: directory of the raw log; None to simulate one.
        output: directory of the ablation: ``ablation.json``, ``ablation.md``, ``ablation.png``, the dataset
            and the models.
        seeds: trainings of each model, with the config's seeds and those that follow.
        only: models of the grid to keep; all of them when empty.
        launch: trains a model.

    Returns:
        The report, as written to ``ablation.json``.

    Raises:
        ConfigError: fewer than one seed, or no such model.
        AblationError: no model could be trained.
        PreemptedError: SIGTERM came; starting again goes on.
        UserError: of simulation, preparation and evaluation.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: at least 1 is needed")
    variants = select(ablation_grid(config), only)
    config = with_grid(config, variants)
    # Seed after seed, so that one of all models is there early.
    models: dict[str, Training | None] = {
        f"{v.name} {seed}": _training(v, config, seed, output)
        for seed in range(seeds)
        for v in variants
        if v.trained
    }
    models |= {v.name: None for v in variants if not v.trained}
    measured, failed = execute(config, data, output, models, launch=launch, keep_going=True)
    if not measured.frames:
        raise AblationError(f"no model could be trained: {'; '.join(failed.values())}")
    dataset, tables = measured.dataset, _by_variant(variants, measured.frames)
    report = ablation_report(
        config,
        variants,
        tables,
        users=users(dataset, config.evaluation.split) if config.evaluation.by_user else None,
        optimum=measured.optimum,
        data=_data(config, dataset, next(iter(measured.frames.values()))),
        failed=failed,
    )
    atomic_write_text(output / "ablation.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    atomic_write_text(output / "ablation.md", f"# Ablation\n\n{markdown(report)}\n")
    try:
        plot_ablation(report, output / "ablation.png")
    except MissingExtraError as error:
        logger.warning("no picture: %s", error)
    return report


def check_complete(report: dict[str, Any], output: Path) -> None:
    """Raise if models of an ablation are missing.

    Raises:
        AblationError: names the models that could not be trained.
    """
    if failed := report["failed"]:
        raise AblationError(
            f"{len(failed)} models could not be trained: {', '.join(failed)}; the report in '{output}' has "
            "the others, and starting again trains these"
        )


def with_grid(config: RunConfig, variants: Sequence[Variant]) -> RunConfig:
    """Return the config with the grid as its variants, without what an ablation does not look at."""
    values = config.model_dump(mode="json", by_alias=True)
    values["variants"] = {variant.name: variant.changes for variant in variants if variant.trained}
    values["models"] = [variant.name for variant in variants]
    values["training"] |= {"validate_every": None, "tensorboard": False}
    at = int(METRIC.partition("@")[2])
    values["evaluation"]["ks"] = sorted({at, *values["evaluation"]["ks"]})
    return parse_config(RunConfig, values, "the grid of the ablation")


def _training(variant: Variant, config: RunConfig, seed: int, output: Path) -> Training:
    directory = output / "models" / f"{variant.name}_seed{seed}"
    training = config.training.model_copy(update={"seed": config.training.seed + seed})
    loader = config.loader.model_copy(update={"seed": config.loader.seed + seed})
    return Training(
        model=variant.name,
        directory=directory,
        config=config.model_copy(update={"training": training, "loader": loader}),
        label=f"{variant.name}, seed {seed}",
        log_file=directory / "training.log",
    )


def _by_variant(
    variants: Sequence[Variant], tables: dict[str, MetricFrame]
) -> dict[str, dict[int, MetricFrame]]:
    """Return variant -> seed -> table; a baseline has the one seed 0."""
    found: dict[str, dict[int, MetricFrame]] = {variant.name: {} for variant in variants}
    for key, table in tables.items():
        name, _, seed = key.partition(" ")
        found[name][int(seed or 0)] = table
    return {name: by_seed for name, by_seed in found.items() if by_seed}


def _data(config: RunConfig, dataset: PreparedDataset, table: MetricFrame) -> dict[str, Any]:
    return {
        "split": config.evaluation.split,
        "candidates": config.evaluation.candidates,
        "events": dataset.manifest["events"],
        "items": dataset.manifest["items"],
        "train_requests": dataset.num_requests("train"),
        **count_requests(table),
    }
