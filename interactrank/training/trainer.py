"""The training loop: sharded model, one pass of batches after the other, evaluations, checkpoints, resume."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel

from interactrank.checkpoint.lock import FolderLock
from interactrank.checkpoint.rng import seed_everything
from interactrank.checkpoint.store import CheckpointStore
from interactrank.checkpoint.weights import save_model
from interactrank.core.errors import TrainingError
from interactrank.distributed.collectives import all_gather_objects, raise_on_all_ranks, run_on_rank0
from interactrank.distributed.preemption import Agreement, PreemptedError, StopSignal
from interactrank.distributed.world import World, current_world
from interactrank.sharding.managed import managed_report, managed_totals, never_managed
from interactrank.sharding.planner.plan import cluster_of, make_plan
from interactrank.sharding.planner.plan_file import load_plan, plan_values, write_plan
from interactrank.sharding.planner.print_plan import describe_plan, print_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.data_position import DataPosition, DataSchedule, Loader
from interactrank.training.metrics_log import MetricsLogger, MetricsRow, ProgressReport
from interactrank.training.monitor import Window, check_finite_state
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.pipeline import Forward, make_pipeline
from interactrank.training.settings import TrainingSettings

__all__ = ["Loader", "TrainingResult", "Validate", "train"]

logger = logging.getLogger(__name__)


class Validate(Protocol):
    """Called on all ranks at the same step with the model in evaluation mode; returns metrics by name."""

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        """Metrics, the same on all ranks."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run ends with.

    Attributes:
        step: steps done, over all starts.
        metrics: rows of ``metrics.jsonl``.
        dmp: the sharded model; usable while the process group is open.
    """

    step: int
    metrics: list[MetricsRow]
    dmp: DistributedModelParallel


def train(
    model: nn.Module,
    loader: Loader,
    settings: TrainingSettings,
    output_dir: str | os.PathLike[str],
    validate: Validate | None = None,
    resume: bool = True,
    plan: str | os.PathLike[str] | None = None,
) -> TrainingResult:
    """Trains ``model``; call it on every rank, within ``with process_group():``.

    ``output_dir`` gets ``metrics.jsonl``, ``checkpoints/``, ``model.safetensors`` and, if asked,
    ``tensorboard/``.

    Args:
        model: batch -> (loss, outputs); unsharded, its collections of tables are replaced in place. The ranks
            must build it from the same seed.
        loader: this rank's batches.
        settings: how to train.
        output_dir: folder of the run, seen by all ranks.
        validate: called every ``settings.validate_every`` steps and at the end.
        resume: go on from the newest checkpoint of ``output_dir``, if there is one.
        plan: a file of :mod:`interactrank.sharding.planner.plan_file`; the planner makes one when left out.

    Returns:
        Steps done, metrics and sharded model.

    Raises:
        RuntimeError: there is no process group.
        TrainingError: settings, plan, loader or an earlier run in ``output_dir`` do not fit, or another
            training is writing there.
        CheckpointError: the checkpoint is damaged or of another model.
        NonFiniteLossError: the loss became NaN or infinite; the last good checkpoint is kept.
        PreemptedError: SIGTERM came to some rank; a checkpoint of this step was written.
    """
    current_world()  # raises where there is no process group
    with raise_on_all_ranks("checking the arguments of train"):
        _check(settings, loader, validate)
    _check_equal_steps(loader)
    lock = FolderLock(Path(output_dir))
    run_on_rank0("locking the folder of the run", lock.acquire)
    try:
        with StopSignal() as stop:
            return _train(model, loader, settings, lock.folder, validate, resume, plan, stop)
    finally:
        lock.release()


def _train(
    model: nn.Module,
    loader: Loader,
    settings: TrainingSettings,
    output: Path,
    validate: Validate | None,
    resume: bool,
    plan: str | os.PathLike[str] | None,
    stop: StopSignal,
) -> TrainingResult:
    world = current_world()
    store = CheckpointStore(output / "checkpoints", settings.keep_last, background=settings.checkpoint_async)
    checkpoint = store.latest()
    if checkpoint is not None and not resume:
        raise TrainingError(
            f"{output} holds a run with checkpoint {checkpoint.name}; resume it, or give another folder"
        )
    position = None if checkpoint is None else DataPosition.from_json(store.position(checkpoint))
    data = DataSchedule(loader, settings, position, ranks=world.size)
    _warn_of_restarts(settings)
    for line in never_managed(model, data.total):
        logger.info(line)
    seed_everything(settings.seed, world.rank)
    dmp = _shard(model, settings, world, output, plan)
    optimizer = build_optimizer(dmp, settings, data.schedule_steps)
    start = data.start.step
    if checkpoint is not None:
        if not store.load(checkpoint, dmp, optimizer):
            seed_everything(settings.seed, world.rank, start)
        logger.info(f"resuming from {checkpoint}: step {start}, epoch {data.start.epoch}")
    with raise_on_all_ranks("opening the metrics log"):
        metrics = MetricsLogger(output, step=start, write=world.is_main, tensorboard=settings.tensorboard)
    if start < data.total:
        store.allocate_staging(dmp, optimizer)
    run = _Run(dmp, optimizer, settings, store, metrics, validate, data)
    try:
        with ProgressReport(total=data.total, step=start, show=world.is_main) as bar:
            run.steps(bar, stop)
        store.wait()
    finally:
        store.join_local()
        metrics.close()
    for line in managed_totals(metrics.rows):
        logger.info(line)
    save_model(dmp, output / "model.safetensors")
    return TrainingResult(max(data.total, start), metrics.rows, dmp)


@dataclass
class _Run:
    """The state of the loop."""

    dmp: DistributedModelParallel
    optimizer: TrainingOptimizer
    settings: TrainingSettings
    store: CheckpointStore
    metrics: MetricsLogger
    validate: Validate | None
    data: DataSchedule

    def steps(self, progress: ProgressReport, stop: StopSignal) -> None:
        """Runs the steps that are left, or those until a rank is asked to stop."""
        forward = Forward(self.dmp, self.dmp.device, bf16=self.settings.autocast == "bf16")
        pipeline = make_pipeline(self.dmp, forward, self.optimizer, self.settings)
        start, total = self.data.start.step, self.data.total
        # One iterator over all passes, which need not end for a pipeline that takes batches ahead; it is
        # given parts, each up to where the model is evaluated or saved, as nothing may be under way then.
        batches = self.data.batches()
        part, part_end = islice(batches, 0), start
        window = Window()
        agreement = Agreement()
        self.dmp.train()
        for step in range(start + 1, total + 1):
            if step > part_end:
                part_end = self._next_break(step)
                part = islice(batches, part_end - step + 1)
            agreement.ask(stop.requested, self.store.has_failed)
            self.optimizer.start_step(self.data.schedule_step(step))
            pipeline.progress(part)
            window.add(
                step=step,
                loss=forward.loss,
                parts=forward.parts,
                grad_norm=self.optimizer.grad_norm,
                samples=forward.samples,
                unit=forward.unit,
            )
            progress.advance()
            asked, failed = agreement.answer()
            if failed:
                self.store.wait()  # raises why
            if asked:
                part, part_end = islice(batches, 0), step + pipeline.prefetched
            stopping = asked and step == part_end
            validating = self.validate is not None and self._due(step, self.settings.validate_every)
            saving = stopping or self._due(step, self.settings.checkpoint_every)
            if not (validating or saving or self._due(step, self.settings.log_every)):
                continue
            row: MetricsRow = {"step": step, "epoch": self.data.position(step - 1).epoch}
            row |= window.close(lambda at: next(self.data.batches(at - 1)))
            row |= self._rates()
            row |= managed_report(self.dmp)
            if saving:
                check_finite_state(self.dmp, step)
            if validating:
                pipeline.detach()
                row |= self._validate(step)
                pipeline.attach()
            self.metrics.add(row)
            progress.row(row)
            if saving:
                self.store.save(self.dmp, self.optimizer, step, self.data.position(step).to_json())
            if stopping and step < total:
                self.store.wait()
                raise PreemptedError(
                    f"asked to stop (SIGTERM); step {step} of {total} is saved, start it again to go on"
                )
            window.restart_clock()
        pipeline.detach()  # the trained model can be called like any other

    def _next_break(self, step: int) -> int:
        """The first step from ``step`` on after which the model is evaluated or saved."""
        everies = [self.settings.checkpoint_every, self.settings.validate_every]
        return min([self.data.total, *(-(-step // every) * every for every in everies if every)])

    def _due(self, step: int, every: int | None) -> bool:
        return step == self.data.total or (every is not None and step % every == 0)

    def _validate(self, step: int) -> MetricsRow:
        assert self.validate is not None
        self.dmp.eval()
        with torch.no_grad():
            metrics = self.validate(self.dmp.module, step)
        self.dmp.train()
        return {f"validation/{name}": float(value) for name, value in metrics.items()}

    def _rates(self) -> MetricsRow:
        factor = self.optimizer.factor
        return {
            "lr": self.settings.dense_optimizer.lr * factor,
            "lr_tables": self.settings.table_optimizer.lr * factor,
        }


def _shard(
    model: nn.Module,
    settings: TrainingSettings,
    world: World,
    output: Path,
    file: str | os.PathLike[str] | None,
) -> DistributedModelParallel:
    plan = load_plan(file, model, settings, world) if file else make_plan(model, settings, world)
    if world.is_main and plan.plan:
        print_plan(describe_plan(model, plan, world.size))
    per_node = cluster_of(world).ranks_per_node
    values = plan_values(model, plan, ranks=world.size, ranks_per_node=per_node)
    dmp = shard_model(model, plan, settings, world)
    run_on_rank0("writing the plan", lambda: write_plan(output / "plan.json", values))
    return dmp


def _check(settings: TrainingSettings, loader: Loader, validate: Callable | None) -> None:
    if settings.validate_every is not None and validate is None:
        raise TrainingError("training.validate_every is set, but train was given no function `validate`")
    if loader.steps_per_epoch < 1:
        raise TrainingError("the loader has no batch: fewer requests than ranks, or an empty split")


def _check_equal_steps(loader: Loader) -> None:
    steps = all_gather_objects(loader.steps_per_epoch)
    if len(set(steps)) > 1:
        listed = ", ".join(f"rank {rank} {n}" for rank, n in enumerate(steps))
        raise TrainingError(
            f"steps_per_epoch differs between ranks ({listed}); a rank with more would wait for ever. "
            "Give every rank the same number of batches"
        )


def _warn_of_restarts(settings: TrainingSettings) -> None:
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0))
    if restarts and settings.checkpoint_every is None:
        logger.info(
            f"training.checkpoint_every is not set: up to {restarts} restarts are allowed, and each would "
            "begin from the start"
        )
