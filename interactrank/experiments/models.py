"""The models of a grid: trained with every seed into folders of their own, evaluated together."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from rich.console import Console

from interactrank.core.errors import USER_ERRORS
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.preemption import PreemptedError
from interactrank.evaluation.evaluator import evaluate_many, head_index
from interactrank.evaluation.metric_frame import MetricFrame
from interactrank.evaluation.scorers import BASELINES, CrossBlock, ModelScorer, Scorer
from interactrank.experiments.variants import Rung
from interactrank.runs import jobs, run_directory
from interactrank.runs.config import RunConfig

__all__ = ["Launch", "evaluate_grid", "train_grid", "train_model"]

Launch = Callable[[str, RunConfig, Path, Path], None]


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
    from interactrank.runs.launch import launch_training

    seeds = (f"training.seed={config.training.seed}", f"loader.seed={config.loader.seed}")
    launch_training(
        config=folder.parents[1] / "ablation.yaml",
        data=data,
        output=folder,
        model=model,
        ranks=config.ranks,
        overrides=seeds,
    )


def train_grid(
    config: RunConfig, rungs: Sequence[Rung], seeds: int, log: PreparedDataset, output: Path, launch: Launch
) -> dict[str, str]:
    """Train what is not yet trained, seed after seed, so that one of all models is there early.

    Args:
        config: with the models of the grid as its variants.
        rungs: the grid.
        seeds: trainings of each model.
        log: the prepared log.
        output: folder of the ablation.
        launch: trains a model.

    Returns:
        Model and seed that could not be trained -> why.

    Raises:
        PreemptedError: SIGTERM came.
    """
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
        except PreemptedError:
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


def evaluate_grid(
    config: RunConfig, rungs: Sequence[Rung], seeds: int, log: PreparedDataset, output: Path
) -> dict[str, dict[int, MetricFrame]]:
    """Evaluate every model that is there, all of them in one pass over the log.

    Args:
        config, rungs, seeds, log, output: as of :func:`train_grid`.

    Returns:
        Model -> seed -> per-request table.
    """
    settings = config.evaluation
    there = [
        (rung.name, seed)
        for rung in rungs
        for seed in range(seeds if rung.trained else 1)
        if not rung.trained or run_directory.is_trained(_folder(output, rung.name, seed))
    ]
    # Cross features are computed once for all models: on a large catalogue they cost far more than scores.
    loaded = {
        (name, seed): run_directory.load(name, _folder(output, name, seed), log)
        for name, seed in there
        if name not in BASELINES
    }
    cross = CrossBlock(log, {name for model in loaded.values() for name in model.score_head.reads})
    scorers: dict[str, Scorer] = {}
    for name, seed in there:
        if name in BASELINES:
            scorers[f"{name} {seed}"] = BASELINES[name].factory(log, settings)
        else:
            head, device = head_index(log, settings), torch.device("cpu")
            scorers[f"{name} {seed}"] = ModelScorer(loaded[name, seed], log, head, device, cross=cross)
    found = evaluate_many(scorers, log, settings, label=f"evaluate {len(scorers)} models")
    tables: dict[str, dict[int, MetricFrame]] = {}
    for name, seed in there:
        tables.setdefault(name, {})[seed] = found[f"{name} {seed}"]
    return tables


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    training = config.training.model_copy(update={"seed": config.training.seed + seed})
    loader = config.loader.model_copy(update={"seed": config.loader.seed + seed})
    return config.model_copy(update={"training": training, "loader": loader})


def _folder(output: Path, name: str, seed: int) -> Path:
    return output / "models" / f"{name}_seed{seed}"


def _train_one(name: str, config: RunConfig, log: PreparedDataset, folder: Path, launch: Launch) -> bool:
    """Whether it had to be trained. What its training prints is kept in ``training.log`` of its folder."""
    wanted = run_directory.origin(name, config.for_model(name), log)
    if changed := run_directory.release(folder, wanted):
        was = run_directory.former(folder)
        told = f"{name}: {'; '.join(changed)}. Retraining; the previous model was moved to {was}"
        print(told, file=sys.stderr)
    run_directory.claim(folder, wanted)
    if run_directory.is_trained(folder):
        return False
    with (folder / "training.log").open("a") as file, redirect_stdout(file), redirect_stderr(file):
        launch(name, config, log.folder, folder)
    return True
