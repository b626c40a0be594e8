"""The verbs of the command line as functions: simulate, prepare, train, evaluate, and all of them: run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from interactrank.config import TRAINED, RunConfig
from interactrank.data.loader import SearchLoader
from interactrank.data.prepare import prepare
from interactrank.data.prepared import PreparedLog
from interactrank.data.simulator import simulate
from interactrank.data.source import LogError
from interactrank.evaluation import (
    RequestTable,
    bootstrap_intervals,
    compare_paired,
    count_requests,
    metrics_by_slice,
    plot_comparison,
    plot_training_curves,
    print_metrics,
    table_means,
    write_metrics_json,
)
from interactrank.evaluation.evaluator import evaluate, ranking_head, request_slices, users
from interactrank.evaluation.scorers import Bm25Scorer, ModelScorer, Scorer, TrueProbabilityScorer
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.files import atomic_write_text
from interactrank.models import InteractRank, two_tower
from interactrank.progress import progress_bar
from interactrank.schema import ConfigError
from interactrank.training.distributed import current_world, process_group
from interactrank.training.history import read_history
from interactrank.training.trainer import train
from interactrank.training.weights import load_model

BUILDERS: dict[str, Callable[..., InteractRank]] = {"interactrank": InteractRank, "two_tower": two_tower}
HEADLINE = ["hit@3", "hit@10", "mrr", "ndcg@10", "recall@100", "auc"]


def simulate_job(config: RunConfig, output: Path) -> Path:
    """Make up a search log in ``output``, unless the same one is there.

    Raises:
        ConfigError: the config has no section ``simulate``.
    """
    if config.simulate is None:
        raise ConfigError("the config has no section simulate; give a log with --data")
    settings = config.simulate
    with progress_bar() as bar:
        task = bar.add_task("simulate", total=settings.requests)
        simulate(
            settings,
            output,
            overwrite=True,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return output


def prepare_job(config: RunConfig, log: Path, output: Path, *, strict: bool = False) -> dict[str, Any]:
    """Prepare a log and say what was found in it."""
    settings = config.prepare.model_copy(update={"strict": True}) if strict else config.prepare
    manifest = prepare(log, output, config.search, settings)
    console = Console()
    requests = ", ".join(f"{n:,} {split}" for split, n in manifest["requests"].items())
    console.print(
        f"prepared {manifest['events']:,} events, {manifest['items']:,} items; requests: {requests}"
    )
    for kind, count in manifest["malformed"].items():
        console.print(f"  left out {count:,} rows: {kind}", style="yellow")
    return manifest


def train_job(config: RunConfig, data: Path, output: Path, *, model: str = "interactrank") -> None:
    """Train one model on a prepared log; every rank calls it.

    Args:
        config: the run's settings.
        data: a prepared log.
        output: folder of the model.
        model: ``interactrank`` or ``two_tower``.
    """
    with process_group(config.training.device, config.training.timeout_s):
        world = current_world()
        log = PreparedLog(data)
        _check_schema(config, log)
        torch.manual_seed(config.training.seed)
        built = BUILDERS[model](layout=log.layout, settings=config.model)
        loader = SearchLoader(log, "train", config.loader, rank=world.rank, world_size=world.size)
        if world.is_main:
            atomic_write_text(output / "config.yaml", config.dump())
        train(built, loader, config.training, output, evaluate=_validation(config, log, world.device))


def _validation(
    config: RunConfig, log: PreparedLog, device: torch.device
) -> Callable[..., dict[str, float]] | None:
    """Metrics of the validation split, for a look while training."""
    if config.training.evaluate_every is None:
        return None
    settings = config.evaluation.model_copy(update={"split": "validation"})

    def look(model: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(model, InteractRank)
        scorer = ModelScorer(model, log, ranking_head(log, settings), device)
        table = evaluate(scorer, log, settings, label=f"evaluate step {step}", limit=2000)
        wanted = [m for m in HEADLINE if m in table]
        return {name: mean for name, (mean, _) in table_means(table, wanted).items()}

    return look


def evaluate_job(config: RunConfig, data: Path, runs: dict[str, Path], output: Path) -> dict[str, Any]:
    """Evaluate trained models, BM25 and (on a simulated log) the optimum; print a table and write a report.

    Args:
        config: the run's settings.
        data: a prepared log.
        runs: model -> its folder; ``bm25`` needs none.
        output: folder of the report: ``metrics.json``, ``comparison.png``, ``training.png``.

    Returns:
        What ``metrics.json`` holds.
    """
    log = PreparedLog(data)
    _check_schema(config, log)
    settings = config.evaluation
    tables: dict[str, RequestTable] = {}
    for name in config.models:
        scorer = _scorer(name, config, log, runs.get(name))
        if scorer is not None:
            tables[name] = evaluate(scorer, log, settings, label=f"evaluate {name}")
    report = _report(config, log, tables, _optimum(log, settings))
    output.mkdir(parents=True, exist_ok=True)
    return _write_report(report, output, runs)


def _scorer(name: str, config: RunConfig, log: PreparedLog, run: Path | None) -> Scorer | None:
    if name == "bm25":
        return Bm25Scorer(log)
    if run is None:
        return None
    model = BUILDERS[name](layout=log.layout, settings=config.model)
    load_model(model, run / "model.safetensors")
    return ModelScorer(model.eval(), log, ranking_head(log, config.evaluation), torch.device("cpu"))


def _optimum(log: PreparedLog, settings: EvaluationSettings) -> RequestTable | None:
    if log.schema.events.true_probability is None or settings.candidates != "logged":
        return None
    return evaluate(TrueProbabilityScorer(log), log, settings, label="evaluate optimum")


def _report(
    config: RunConfig, log: PreparedLog, tables: dict[str, RequestTable], optimum: RequestTable | None
) -> dict[str, Any]:
    settings = config.evaluation
    metrics = [m for m in [*HEADLINE, "map"] if m in next(iter(tables.values()))]
    metrics += [
        f"{kind}@{k}"
        for k in settings.ks
        for kind in ("hit", "ndcg", "recall")
        if f"{kind}@{k}" not in metrics
    ]
    clusters = users(log, settings.split) if settings.by_user else None
    how: dict[str, Any] = {"clusters": clusters, "resamples": settings.resamples, "seed": settings.seed}
    slices = request_slices(log, settings.split)
    first = next(iter(tables))
    return {
        "models": {name: bootstrap_intervals(t, metrics, **how) for name, t in tables.items()},
        "slices": {name: metrics_by_slice(t, slices, metrics[:4], **how) for name, t in tables.items()},
        "paired": {
            f"{first} - {name}": compare_paired(tables[first], t, metrics[:4], key="request_index", **how)
            for name, t in tables.items()
            if name != first
        },
        "data": {
            "prepared": str(log.folder),
            "split": settings.split,
            "candidates": settings.candidates,
            "events": log.manifest["events"],
            "items": log.manifest["items"],
            "malformed": log.manifest["malformed"],
            **count_requests(tables[first]),
        },
        "ceilings": {}
        if optimum is None
        else {n: mean for n, (mean, _) in table_means(optimum, metrics).items()},
    }


def _write_report(report: dict[str, Any], output: Path, runs: dict[str, Path]) -> dict[str, Any]:
    ceilings = report["ceilings"]
    written = write_metrics_json(
        output / "metrics.json",
        report["models"],
        data={**report["data"], "optimum": ceilings},
        slices=report["slices"],
        paired=report["paired"],
    )
    shown = [m for m in HEADLINE if m in next(iter(report["models"].values()))]
    title = f"{report['data']['split']}, {report['data']['candidates']} candidates"
    print_metrics(report["models"], shown, ceilings=ceilings or None, title=title)
    slices = {
        f"{model} ({label})": s.metrics
        for model, by in report["slices"].items()
        for label, s in by["query"].items()
        if s.requests
    }
    print_metrics(
        slices,
        [m for m in shown if m in next(iter(slices.values()))],
        title="queries seen in training, and others",
    )
    plot_comparison(report["models"], output / "comparison.png", metrics=shown, ceilings=ceilings or None)
    for name, run in runs.items():
        rows = read_history(run / "history.jsonl")
        looked = sorted(
            {key for row in rows for key in row if key.startswith("eval/") and key[5:] in ("hit@3", "mrr")}
        )
        plot_training_curves(
            rows, output / f"training_{name}.png", metrics=looked, title=f"Training of {name}"
        )
    return written


def run_job(
    config: RunConfig, data: Path | None, output: Path, launch: Callable[[str, Path, Path], None]
) -> dict[str, Any]:
    """From a raw log (or a simulated one) to the table: prepare, train every model, evaluate, report.

    Args:
        config: the run's settings.
        data: folder of the raw log; None to simulate one.
        output: folder of the run.
        launch: starts the training of (model, prepared log, folder of the model) on all ranks.

    Returns:
        What ``metrics.json`` holds.
    """
    output.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = simulate_job(config, output / "log")
    atomic_write_text(output / "config.yaml", config.dump())
    prepare_job(config, data, output / "prepared")
    runs: dict[str, Path] = {}
    for name in config.models:
        if name in TRAINED:
            runs[name] = output / name
            _forget_other_config(config, runs[name])
            launch(name, output / "prepared", runs[name])
    return evaluate_job(config, output / "prepared", runs, output)


def _forget_other_config(config: RunConfig, folder: Path) -> None:
    """A finished or interrupted training is taken up only under the same settings."""
    try:
        same = (folder / "config.yaml").read_text() == config.dump()
    except OSError:
        same = False
    if folder.exists() and not same:
        shutil.rmtree(folder)


def _check_schema(config: RunConfig, log: PreparedLog) -> None:
    if config.search != log.schema:
        raise LogError(
            f"'{log.folder}' was prepared with another schema than this config's; prepare it again"
        )
