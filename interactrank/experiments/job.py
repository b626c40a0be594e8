"""The verb ``ablate``: prepare a log once, train every model of the grid with every seed, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from interactrank.core.errors import UserError
from interactrank.core.extras import MissingExtraError
from interactrank.core.files import atomic_write_text
from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.evaluator import evaluate, users
from interactrank.evaluation.metric_frame import MetricFrame, count_requests
from interactrank.evaluation.scorers import TrueProbabilityScorer
from interactrank.experiments.findings import METRIC
from interactrank.experiments.models import Launch, evaluate_grid, train_grid, train_model
from interactrank.experiments.page import markdown, show
from interactrank.experiments.plots import plot_ablation
from interactrank.experiments.report import ablation_report
from interactrank.experiments.variants import Rung, ablation_grid, keep
from interactrank.runs import jobs
from interactrank.runs.config import RunConfig

__all__ = ["AblationError", "ablate_job"]


class AblationError(UserError, RuntimeError):
    """Models of the grid that could not be trained; the message names them."""


def ablate_job(
    config: RunConfig,
    data: Path | None,
    output: Path,
    *,
    seeds: int = 3,
    only: Sequence[str] = (),
    launch: Launch = train_model,
) -> dict[str, Any]:
    """Train the grid of a config on one log with several seeds; print and write what each part is worth.

    What an earlier start into the same folder has trained is kept, as long as it would come out the same.

    Args:
        config: of the full model; its ``models`` and ``variants`` give way to the grid's. Nothing is
            evaluated while training.
        data: folder of the raw log; None to simulate one.
        output: folder of the ablation: ``ablation.json``, ``ablation.md``, ``ablation.png``, the prepared log
            and the models.
        seeds: so many trainings of each model, with the config's seeds and those that follow.
        only: models of the grid to keep; all of them when empty.
        launch: trains a model.

    Returns:
        What ``ablation.json`` holds.

    Raises:
        ConfigError: fewer than one seed, or no such model.
        AblationError: some models could not be trained; the report has the others.
        PreemptedError: SIGTERM came; starting again goes on.
        UserError: of simulation, preparation and evaluation.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: at least 1 is needed")
    rungs = keep(ablation_grid(config), only)
    config = _with_grid(config, rungs)
    if data is None:
        data = jobs.simulate_job(config, output / "log")
    jobs.prepare_job(config, data, output / "prepared")
    log = PreparedDataset(output / "prepared")
    atomic_write_text(output / "ablation.yaml", config.dump())
    failed = train_grid(config, rungs, seeds, log, output, launch)
    tables = evaluate_grid(config, rungs, seeds, log, output)
    if not tables:
        raise AblationError(f"no model could be trained: {'; '.join(failed.values())}")
    optimum = None
    if log.schema.events.true_probability is not None and config.evaluation.candidates == "logged":
        optimum = evaluate(TrueProbabilityScorer(log), log, config.evaluation, label="evaluate optimum")
    report = ablation_report(
        config,
        rungs,
        tables,
        users=users(log, config.evaluation.split) if config.evaluation.by_user else None,
        optimum=optimum,
        data=_data(config, log, next(iter(next(iter(tables.values())).values()))),
        failed=failed,
    )
    atomic_write_text(output / "ablation.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    atomic_write_text(output / "ablation.md", f"# Ablation\n\n{markdown(report)}\n")
    show(report)
    try:
        plot_ablation(report, output / "ablation.png")
    except MissingExtraError as error:
        Console(stderr=True).print(f"no picture: {error}", soft_wrap=True)
    if failed:
        raise AblationError(
            f"{len(failed)} of {sum(r.trained for r in rungs) * seeds} models could not be trained: "
            f"{', '.join(failed)}; the report in '{output}' has the others, and starting again trains these"
        )
    return report


def _with_grid(config: RunConfig, rungs: Sequence[Rung]) -> RunConfig:
    """The config with the grid as its variants, and without what an ablation does not look at."""
    values = config.model_dump(mode="json", by_alias=True)
    values["variants"] = {rung.name: rung.changes for rung in rungs if rung.trained}
    values["models"] = [rung.name for rung in rungs]
    values["training"] |= {"validate_every": None, "tensorboard": False}
    at = int(METRIC.partition("@")[2])
    values["evaluation"]["ks"] = sorted({at, *values["evaluation"]["ks"]})
    return parse_config(RunConfig, values, "the grid of the ablation")


def _data(config: RunConfig, log: PreparedDataset, table: MetricFrame) -> dict[str, Any]:
    return {
        "split": config.evaluation.split,
        "candidates": config.evaluation.candidates,
        "events": log.manifest["events"],
        "items": log.manifest["items"],
        "train_requests": log.num_requests("train"),
        **count_requests(table),
    }
