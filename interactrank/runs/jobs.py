"""The verbs of the command line as functions: simulate, prepare, train, evaluate, and all of them: run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from interactrank.core.extras import MissingExtraError
from interactrank.core.files import atomic_write_text
from interactrank.core.progress import progress_bar
from interactrank.core.settings import ConfigError
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.simulator import simulate
from interactrank.distributed.collectives import raise_on_all_ranks, run_on_rank0
from interactrank.distributed.world import World, current_world, process_group
from interactrank.evaluation.comparison import compare
from interactrank.evaluation.evaluator import evaluate, evaluate_many, head_index
from interactrank.evaluation.metric_frame import MetricFrame, frame_means
from interactrank.evaluation.metrics import headline
from interactrank.evaluation.plots import plot_training_curves
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.scorers import BASELINES, ModelScorer, Scorer, TrueProbabilityScorer
from interactrank.models import InteractRank, build_model
from interactrank.models.tables import collection_name, table_bytes
from interactrank.runs import run_directory
from interactrank.runs.config import RunConfig
from interactrank.runs.plan_inputs import profile_model
from interactrank.serving.item_embeddings import export_items
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.offline import plan_for_cluster
from interactrank.sharding.planner.plots import plot_plan
from interactrank.sharding.planner.report import PlanReport
from interactrank.sharding.table_init import table_device
from interactrank.training.metrics_log import read_metrics
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import Validate, train
from interactrank.version import __version__

logger = logging.getLogger(__name__)

LOOK_REQUESTS = 2000  # validation requests of an evaluation while training, about

Launch = Callable[[str, Path, Path], None]


def simulate_job(config: RunConfig, output: Path) -> Path:
    """Make up a search log, unless the folder holds the same one already.

    Args:
        config: with a section ``simulate``.
        output: folder of the log.

    Returns:
        ``output``.

    Raises:
        ConfigError: the config has no section ``simulate``.
        FileExistsError: the folder holds something else than a simulated log.
    """
    settings = config.simulate
    if settings is None:
        raise ConfigError("the config has no section simulate; give a log with --data")
    if _read_json(output / "simulation.json") == {
        "version": __version__,
        "settings": settings.model_dump(mode="json"),
    }:
        return output
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
    """Prepare a log and say what was found in it.

    Args:
        config: the run's settings.
        log: folder with ``events.parquet`` and ``items.parquet``.
        output: folder of the prepared log.
        strict: a malformed row is an error.

    Returns:
        The manifest.

    Raises:
        DatasetError: the log cannot be prepared.
    """
    settings = config.prepare.model_copy(update={"strict": True}) if strict else config.prepare
    manifest = prepare_log(log, output, config.search, settings)
    console = Console()
    requests = ", ".join(f"{n:,} {split}" for split, n in manifest["requests"].items())
    console.print(
        f"prepared {manifest['events']:,} events, {manifest['items']:,} items; requests: {requests}",
        soft_wrap=True,
    )
    for kind, count in manifest["malformed"].items():
        console.print(f"  left out {count:,} rows: {kind}", style="yellow", soft_wrap=True)
    return manifest


def train_job(
    config: RunConfig, data: Path, output: Path, *, model: str = "interactrank", plan: Path | None = None
) -> None:
    """Train one model on a prepared log, or go on where an earlier start ended; every rank calls it.

    Args:
        config: the run's settings.
        data: a prepared log.
        output: folder of the model.
        model: ``interactrank``, ``two_tower`` or one of the config's variants.
        plan: which rank holds what of each table, as ``interactrank plan`` writes it.

    Raises:
        ConfigError: the config has no such model.
        DatasetError: the log is not what the config needs.
        ModelFolderError: ``output`` holds another training.
        TrainingError: the training cannot go on.
    """
    given, config = config, config.for_model(model)
    with process_group(config.training.device, config.training.timeout_s) as world:
        log = _open(config, data)
        look = _look_while_training(config, log, world)
        wanted = run_directory.origin(model, config, log)
        run_on_rank0("checking the folder of the model", lambda: run_directory.claim(output, wanted))
        torch.manual_seed(config.training.seed)
        device = table_device(config.training, table_bytes(log.layout), world)
        built = build_model(model, layout=log.layout, settings=config.model, table_device=device)
        loader = SearchLoader(
            log, "train", config.loader, rank=world.rank, world_size=world.size, only=built.score_head.reads
        )
        if world.is_main:
            atomic_write_text(output / "config.yaml", given.dump())
        train(built, loader, _as_built(config.training), output, validate=look, plan=plan)


def plan_job(
    config: RunConfig,
    cluster: Cluster,
    output: Path,
    *,
    data: Path | None = None,
    rows: Mapping[str, int] | None = None,
    ids: Mapping[str, float] | None = None,
    candidates: float | None = None,
    model: str = "interactrank",
) -> PlanReport:
    """Plan which rank holds what of each ID table, on machines that need not exist; print it and write it.

    Args:
        config: the run's settings.
        cluster: the machines.
        output: the plan's JSON file; a picture of its balance lies beside it where matplotlib is installed.
        data: a prepared log, which knows the tables' rows and how many ids a request has.
        rows: table -> rows, instead of those.
        ids: feature -> mean ids in a row, instead of those.
        candidates: items of a request, instead of those.
        model: ``interactrank``, ``two_tower`` or one of the config's variants.

    Returns:
        What the plan costs.

    Raises:
        ConfigError: the config has no such model.
        TrainingError: sizes are unknown, or constraints are impossible.
        PlanError: the tables do not fit; names the nearest fixes.
    """
    config = config.for_model(model)
    log = None if data is None else _open(config, data)
    sized = profile_model(
        config.search,
        config.model,
        batch_requests=config.loader.batch_requests,
        negatives=config.loader.negatives,
        log=log,
        rows=rows or {},
        ids=ids or {},
        candidates=candidates,
    )
    report = plan_for_cluster(sized, _as_built(config.training), cluster, output)
    report.show()
    console = Console(stderr=True)
    console.print(f"written: {output}", soft_wrap=True)
    try:
        console.print(f"written: {plot_plan(report, output.with_suffix('.png'))}", soft_wrap=True)
    except MissingExtraError as error:
        console.print(f"no picture: {error}", soft_wrap=True)
    return report


def _as_built(settings: TrainingSettings) -> TrainingSettings:
    """The settings with tables called as they are in the model's collections."""
    sharding = {collection_name(table): how for table, how in settings.sharding.items()}
    return settings.model_copy(update={"sharding": sharding})


def _look_while_training(config: RunConfig, log: PreparedDataset, world: World) -> Validate | None:
    """Metrics of the validation split; None where the config asks for none."""
    if config.training.validate_every is None:
        return None
    settings = config.evaluation.model_copy(update={"split": "validation"})
    requests = log.num_requests("validation")
    if requests < world.size:
        raise DatasetError(
            f"training.validate_every needs validation requests, one a rank; '{log.folder}' has {requests}; "
            "set prepare.split so that some requests validate, or training.validate_every to null"
        )
    head = head_index(log, settings)

    def look(model: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(model, InteractRank)
        scorer = ModelScorer(model, log, head, current_world().device)
        table = evaluate(scorer, log, settings, label=f"evaluate step {step}", limit=LOOK_REQUESTS)
        means = frame_means(table, headline(table))
        return {name: mean for name, (mean, _) in means.items()}

    return look


def evaluate_job(config: RunConfig, data: Path, runs: Mapping[str, Path], output: Path) -> dict[str, Any]:
    """Evaluate trained models, BM25 and (on a simulated log) the optimum; print a table and write a report.

    Args:
        config: the run's settings; BM25 is evaluated where its ``models`` name it.
        data: a prepared log.
        runs: model -> its folder.
        output: folder of the report: ``metrics.json``, ``comparison.png``, ``training_<model>.png``.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        DatasetError: the log is not what the config needs.
        ModelFolderError: a folder does not hold the model.
        ConfigError: there is nothing to evaluate.
    """
    log, settings = _open(config, data), config.evaluation
    names = [name for name in dict.fromkeys([*config.models, *runs]) if name in runs or name in BASELINES]
    if not names:
        raise ConfigError("nothing to evaluate: name trained models with --run, or bm25 in models")
    scorers = {name: _scorer(name, config, log, runs) for name in names}
    tables: dict[str, MetricFrame] = {}
    predictions: dict[str, Predictions] = {}
    for name, scorer in scorers.items():
        label = f"evaluate {name}"
        tables |= evaluate_many({name: scorer}, log, settings, label=label, predictions=predictions)
    optimum = None
    if log.schema.events.true_probability is not None and settings.candidates == "logged":
        optimum = evaluate(TrueProbabilityScorer(log), log, settings, label="evaluate optimum")
    comparison = compare(tables, log, settings, optimum, predictions)
    written = comparison.write(output)
    try:
        comparison.plot(output)
        for name, folder in runs.items():
            _plot_training(name, folder, output)
    except MissingExtraError as error:
        Console(stderr=True).print(f"no picture: {error}", soft_wrap=True)
    comparison.show()
    return written


def export_items_job(config: RunConfig, data: Path, run: Path, output: Path, *, model: str) -> dict[str, Any]:
    """Embed the whole catalogue with a trained model; every rank calls it.

    Args:
        config: the run's settings.
        data: the prepared log that the model was trained on.
        run: folder of the trained model.
        output: folder of the embeddings.
        model: name of the trained model.

    Returns:
        The export's manifest.

    Raises:
        DatasetError: the log is not what the config needs.
        ModelFolderError: ``run`` does not hold the model.
    """
    with process_group(config.training.device, config.training.timeout_s) as world:
        log = _open(config, data)
        with raise_on_all_ranks("loading the model"):
            trained = run_directory.load(model, run, log)
        if world.is_main:
            _say_passed_over(model, run, config)
        origin = {"name": model, "prepared": log.manifest["fingerprint"]}
        with progress_bar() as bar:
            task = bar.add_task("embed items", visible=world.is_main)
            manifest = export_items(
                trained,
                log,
                output,
                world,
                origin=origin,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        logger.info(f"embedded {manifest['items']:,} items of {manifest['dim']} numbers each: {output}")
        return manifest


def _scorer(name: str, config: RunConfig, log: PreparedDataset, runs: Mapping[str, Path]) -> Scorer:
    if name in BASELINES:
        return BASELINES[name].factory(log, config.evaluation)
    model = run_directory.load(name, runs[name], log)
    _say_passed_over(name, runs[name], config)
    return ModelScorer(model, log, head_index(log, config.evaluation), torch.device("cpu"))


def _say_passed_over(name: str, folder: Path, config: RunConfig) -> None:
    if passed_over := run_directory.passed_over(name, folder, config):
        said = f"{name} is as it was trained, whatever this config says: {'; '.join(passed_over)}"
        Console(stderr=True).print(said, soft_wrap=True)


def _plot_training(name: str, folder: Path, output: Path) -> None:
    rows = read_metrics(folder / "metrics.jsonl")
    looked = [m for m in ("validation/hit@3", "validation/mrr") if any(m in row for row in rows)]
    plot_training_curves(rows, output / f"training_{name}.png", metrics=looked, title=f"Training of {name}")


def run_job(config: RunConfig, data: Path | None, output: Path, launch: Launch) -> dict[str, Any]:
    """From a raw log (or a simulated one) to the table: prepare, train every model, evaluate, report.

    What an earlier run into the same folder has done is kept, as long as it would come out the same.

    Args:
        config: the run's settings.
        data: folder of the raw log; None to simulate one.
        output: folder of the run.
        launch: starts the training of (model, prepared log, folder of the model) on all ranks.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        UserError: of any of the steps.
    """
    if data is None:
        data = simulate_job(config, output / "log")
    prepare_job(config, data, output / "prepared")
    atomic_write_text(output / "config.yaml", config.dump())
    log = _open(config, output / "prepared")
    runs = {name: output / name for name in config.trained}
    console = Console(stderr=True)
    for name, folder in runs.items():
        wanted = run_directory.origin(name, config.for_model(name), log)
        if changed := run_directory.release(folder, wanted):
            console.print(
                f"{name}: {'; '.join(changed)}. Retraining; the previous model was moved to "
                f"{run_directory.former(folder)}",
                soft_wrap=True,
            )
        run_directory.claim(folder, wanted)
        if run_directory.is_trained(folder):
            console.print(f"{name}: trained already, in {folder}", soft_wrap=True)
        else:
            launch(name, log.folder, folder)
    return evaluate_job(config, log.folder, runs, output)


def _open(config: RunConfig, data: Path) -> PreparedDataset:
    log = PreparedDataset(data)
    if config.search != log.schema:
        raise DatasetError(f"'{data}' was prepared with another schema than this config's; prepare it again")
    return log


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
