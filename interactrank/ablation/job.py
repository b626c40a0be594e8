"""The verb ``ablate``: prepare a log once, train every model of the grid with every seed, report."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from interactrank import jobs, model_folder
from interactrank.ablation.findings import METRIC
from interactrank.ablation.grid import Rung, ablation_grid, keep
from interactrank.ablation.page import markdown, show
from interactrank.ablation.picture import plot_ablation
from interactrank.ablation.result import ablation_report
from interactrank.config import RunConfig
from interactrank.data.prepared import PreparedLog
from interactrank.errors import USER_ERRORS, UserError
from interactrank.evaluation.evaluator import evaluate, evaluate_together, ranking_head, users
from interactrank.evaluation.scorers import (
    Bm25Scorer,
    CountScorer,
    CrossBlock,
    ModelScorer,
    Scorer,
    TrueProbabilityScorer,
)
from interactrank.evaluation.table import RequestTable, count_requests
from interactrank.files import atomic_write_text
from interactrank.schema import ConfigError, parse_config
from interactrank.training.preemption import Preempted
from interactrank.training.quiet import quiet

__all__ = ["AblationError", "Launch", "ablate_job", "train_model"]

Launch = Callable[[str, RunConfig, Path, Path], None]
_BASELINES: dict[str, Callable[[PreparedLog], Scorer]] = {"bm25": Bm25Scorer, "counts": CountScorer}


class AblationError(UserError, RuntimeError):
    """Models of the grid that could not be trained; the message names them."""


def train_model(model: str, config: RunConfig, data: Path, folder: Path) -> None:
    """Train a model: in this process for one rank, which saves its start, else as `interactrank run` does.

    Args:
        model: name of a variant of the config.
        config: with the seeds to train with; lies in ``ablation.yaml``, two folders above ``folder``, too.
        data: the prepared log.
        folder: of the model.
    """
    if config.ranks == 1:
        hook = sys.excepthook
        try:
            jobs.train_job(config, data, folder, model=model)
        finally:
            sys.excepthook = hook  # torch.distributed adds "[rank0]: " to errors, once more each time
        return
    from interactrank.components import launch_training

    seeds = (f"training.seed={config.training.seed}", f"loader.seed={config.loader.seed}")
    launch_training(
        config=folder.parents[1] / "ablation.yaml",
        data=data,
        output=folder,
        model=model,
        ranks=config.ranks,
        overrides=seeds,
    )


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
        Preempted: SIGTERM came; starting again goes on.
        UserError: of simulation, preparation and evaluation.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: at least 1 is needed")
    rungs = keep(ablation_grid(config), only)
    config = _with_grid(config, rungs)
    quiet()
    if data is None:
        data = jobs.simulate_job(config, output / "log")
    jobs.prepare_job(config, data, output / "prepared")
    log = PreparedLog(output / "prepared")
    atomic_write_text(output / "ablation.yaml", config.dump())
    failed = _train(config, rungs, seeds, log, output, launch)
    tables = _evaluate(config, rungs, seeds, log, output)
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
    plot_ablation(report, output / "ablation.png")
    show(report)
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
    values["training"] |= {"evaluate_every": None, "tensorboard": False}
    at = int(METRIC.partition("@")[2])
    values["evaluation"]["ks"] = sorted({at, *values["evaluation"]["ks"]})
    return parse_config(RunConfig, values, "the grid of the ablation")


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    training = config.training.model_copy(update={"seed": config.training.seed + seed})
    loader = config.loader.model_copy(update={"seed": config.loader.seed + seed})
    return config.model_copy(update={"training": training, "loader": loader})


def _folder(output: Path, name: str, seed: int) -> Path:
    return output / "models" / f"{name}_seed{seed}"


def _train(
    config: RunConfig, rungs: Sequence[Rung], seeds: int, log: PreparedLog, output: Path, launch: Launch
) -> dict[str, str]:
    """Train what is not yet trained; returns what could not be, and why."""
    console = Console(stderr=True)
    failed: dict[str, str] = {}
    wanted = [(seed, rung) for seed in range(seeds) for rung in rungs if rung.trained]
    for number, (seed, rung) in enumerate(wanted, start=1):
        seeded, folder = _seeded(config, seed), _folder(output, rung.name, seed)
        what = f"{rung.name}, seed {seed}"
        line = f"model {number} of {len(wanted)}: {what} ({rung.label})"
        started = time.monotonic()
        try:
            done = _train_one(rung.name, seeded, log, folder, launch)
        except Preempted:
            raise  # asked to stop, not only with this model
        except Exception as error:
            if not isinstance(error, USER_ERRORS):
                traceback.print_exc()
            failed[what] = str(error).partition("\n")[0]
            console.print(f"{line}: failed: {error}", style="red", markup=False, soft_wrap=True)
        else:
            took = f"{time.monotonic() - started:.0f} s" if done else f"trained already, in {folder}"
            console.print(f"{line}: {took}", markup=False, highlight=False, soft_wrap=True)
    return failed


def _train_one(name: str, config: RunConfig, log: PreparedLog, folder: Path, launch: Launch) -> bool:
    """Whether it had to be trained. What its training prints is kept in ``training.log`` of its folder."""
    wanted = model_folder.origin(name, config.for_model(name), log)
    if changed := model_folder.release(folder, wanted):
        print(f"{name}: another {', '.join(changed)} than before; trained anew", file=sys.stderr)
    model_folder.claim(folder, wanted)
    if model_folder.is_trained(folder):
        return False
    with (folder / "training.log").open("a") as file, redirect_stdout(file), redirect_stderr(file):
        launch(name, config, log.folder, folder)
    return True


def _evaluate(
    config: RunConfig, rungs: Sequence[Rung], seeds: int, log: PreparedLog, output: Path
) -> dict[str, dict[int, RequestTable]]:
    """Per-request tables of every model that is there, by seed."""
    settings = config.evaluation
    there = [
        (rung.name, seed)
        for rung in rungs
        for seed in range(seeds if rung.trained else 1)
        if not rung.trained or model_folder.is_trained(_folder(output, rung.name, seed))
    ]
    # Cross features are computed once for all models: on a large catalogue they cost far more than scores.
    loaded = {
        (name, seed): model_folder.load(name, _folder(output, name, seed), log)
        for name, seed in there
        if name not in _BASELINES
    }
    cross = CrossBlock(log, {name for model in loaded.values() for name in model.fuse.reads})
    scorers: dict[str, Scorer] = {}
    for name, seed in there:
        if name in _BASELINES:
            scorers[f"{name} {seed}"] = _BASELINES[name](log)
        else:
            head, device = ranking_head(log, settings), torch.device("cpu")
            scorers[f"{name} {seed}"] = ModelScorer(loaded[name, seed], log, head, device, cross=cross)
    found = evaluate_together(scorers, log, settings, label=f"evaluate {len(scorers)} models")
    tables: dict[str, dict[int, RequestTable]] = {}
    for name, seed in there:
        tables.setdefault(name, {})[seed] = found[f"{name} {seed}"]
    return tables


def _data(config: RunConfig, log: PreparedLog, table: RequestTable) -> dict[str, Any]:
    return {
        "split": config.evaluation.split,
        "candidates": config.evaluation.candidates,
        "events": log.manifest["events"],
        "items": log.manifest["items"],
        "train_requests": log.num_requests("train"),
        **count_requests(table),
    }
