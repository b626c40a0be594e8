"""The training loop: sharded model, one pass of batches after the other, evaluations, checkpoints, resume."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel

from interactrank.batch import SearchBatch
from interactrank.training.checkpoint import CheckpointStore, Position
from interactrank.training.distributed import World, current_world, gather, say, together
from interactrank.training.errors import TrainingError
from interactrank.training.history import History, ProgressReport, Row
from interactrank.training.monitor import Window, check_finite_state
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.pipeline import Forward, make_pipeline
from interactrank.training.plan import describe_plan, make_plan, print_plan
from interactrank.training.settings import TrainingSettings
from interactrank.training.sharding import shard_model
from interactrank.training.weights import save_model

__all__ = ["Evaluate", "Loader", "TrainingResult", "train"]


class Loader(Protocol):
    """What the trainer needs of a loader; :class:`interactrank.data.SearchLoader` is one."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of a pass over the data; the same on every rank."""

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        """Batches of pass ``n`` from number ``start`` on; the same at every call."""


class Evaluate(Protocol):
    """Called on all ranks at the same step with the model in evaluation mode; returns metrics by name."""

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        """Metrics, the same on all ranks."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run ends with.

    Attributes:
        step: steps done, over all starts.
        history: rows of ``history.jsonl``.
        dmp: the sharded model; usable while the process group is open.
    """

    step: int
    history: list[Row]
    dmp: DistributedModelParallel


def train(
    model: nn.Module,
    loader: Loader,
    settings: TrainingSettings,
    output_dir: str | os.PathLike[str],
    evaluate: Evaluate | None = None,
    resume: bool = True,
) -> TrainingResult:
    """Trains ``model``; call it on every rank, within ``with process_group():``.

    ``output_dir`` gets ``history.jsonl``, ``checkpoints/``, ``model.safetensors`` and, if asked,
    ``tensorboard/``.

    Args:
        model: batch -> (loss, outputs); unsharded, its collections of tables are replaced in place. The ranks
            must build it from the same seed.
        loader: this rank's batches.
        settings: how to train.
        output_dir: folder of the run, seen by all ranks.
        evaluate: called every ``settings.evaluate_every`` steps and at the end.
        resume: go on from the newest checkpoint of ``output_dir``, if there is one.

    Returns:
        Steps done, history and sharded model.

    Raises:
        RuntimeError: there is no process group.
        TrainingError: settings, loader or an earlier run in ``output_dir`` do not fit.
        CheckpointError: the checkpoint is damaged or of another model.
        NonFiniteLoss: the loss became NaN or infinite; the last good checkpoint is kept.
    """
    world = current_world()
    output = Path(output_dir)
    with together("checking the arguments of train"):
        _check(settings, loader, evaluate)
    _check_equal_steps(loader)
    store = CheckpointStore(output / "checkpoints", settings.keep_checkpoints)
    checkpoint = store.latest()
    if checkpoint is not None and not resume:
        raise TrainingError(
            f"{output} holds a run with checkpoint {checkpoint.name}; resume it, or give another folder"
        )
    torch.manual_seed(settings.seed * 1_000_003 + world.rank)  # dropout differs between ranks
    dmp = _shard(model, settings, world)
    total = settings.total_steps(loader.steps_per_epoch)
    optimizer = build_optimizer(dmp, settings, total)
    start = Position(steps_per_epoch=loader.steps_per_epoch)
    if checkpoint is not None:
        start = _fit(store.load(checkpoint, dmp, optimizer), loader.steps_per_epoch)
        say(f"resuming from {checkpoint}: step {start.step}, epoch {start.epoch}, batch {start.epoch_step}")
    with together("opening the history"):
        history = History(output, step=start.step, write=world.is_main, tensorboard=settings.tensorboard)
    run = _Run(dmp, optimizer, loader, settings, store, history, evaluate, total, start)
    try:
        with ProgressReport(total=total, step=start.step, show=world.is_main) as progress:
            run.steps(progress)
    finally:
        history.close()
    save_model(dmp, output / "model.safetensors")
    return TrainingResult(max(total, start.step), history.rows, dmp)


@dataclass
class _Run:
    """The state of the loop."""

    dmp: DistributedModelParallel
    optimizer: TrainingOptimizer
    loader: Loader
    settings: TrainingSettings
    store: CheckpointStore
    history: History
    evaluate: Evaluate | None
    total: int
    start: Position

    def steps(self, progress: ProgressReport) -> None:
        """Runs the steps that are left."""
        forward = Forward(self.dmp, self.dmp.device, bf16=self.settings.autocast == "bf16")
        pipeline = make_pipeline(self.dmp, forward, self.optimizer, self.settings)
        # One iterator over all passes: a pipeline that reads ahead never has to be drained between them.
        batches = islice(self._batches(), self.total - self.start.step)
        window = Window()
        self.dmp.train()
        for step in range(self.start.step + 1, self.total + 1):
            self.optimizer.start_step(step)
            pipeline.progress(batches)
            window.add(
                step=step,
                loss=forward.loss,
                parts=forward.parts,
                grad_norm=self.optimizer.grad_norm,
                requests=forward.requests,
            )
            progress.advance()
            evaluating = self.evaluate is not None and self._due(step, self.settings.evaluate_every)
            saving = self._due(step, self.settings.checkpoint_every)
            if not (evaluating or saving or self._due(step, self.settings.log_every)):
                continue
            row: Row = {"step": step, "epoch": self._position(step - 1).epoch}
            row |= window.close(lambda at: next(iter(self._batches(at - 1))))
            row |= self._rates()
            if saving:
                check_finite_state(self.dmp, step)
            if evaluating:
                pipeline.pause()
                row |= self._evaluate(step)
                pipeline.go_on()
            self.history.add(row)
            progress.row(row)
            if saving:
                self.store.save(self.dmp, self.optimizer, self._position(step))
            window.restart_clock()

    def _due(self, step: int, every: int | None) -> bool:
        return step == self.total or (every is not None and step % every == 0)

    def _evaluate(self, step: int) -> Row:
        assert self.evaluate is not None
        self.dmp.eval()
        with torch.no_grad():
            metrics = self.evaluate(self.dmp.module, step)
        self.dmp.train()
        return {f"eval/{name}": float(value) for name, value in metrics.items()}

    def _rates(self) -> Row:
        factor = self.optimizer.factor
        return {"lr": self.settings.dense.lr * factor, "lr_tables": self.settings.tables.lr * factor}

    def _position(self, step: int) -> Position:
        """Where the run is after ``step`` steps."""
        per_epoch = self.loader.steps_per_epoch
        epochs, epoch_step = divmod(self.start.epoch_step + step - self.start.step, per_epoch)
        return Position(step, self.start.epoch + epochs, epoch_step, per_epoch)

    def _batches(self, after: int | None = None) -> Iterator[SearchBatch]:
        """Batches from the step behind ``after`` on, pass after pass, without end."""
        position = self._position(self.start.step if after is None else after)
        epoch, first = position.epoch, position.epoch_step
        while True:
            count = first
            for batch in islice(self.loader.epoch(epoch, start=first), self.loader.steps_per_epoch - first):
                count += 1
                yield batch
            if count < self.loader.steps_per_epoch:
                raise TrainingError(
                    f"the loader gave {count} batches in epoch {epoch} on this rank instead of the "
                    f"{self.loader.steps_per_epoch} of its steps_per_epoch"
                )
            epoch, first = epoch + 1, 0


def _shard(model: nn.Module, settings: TrainingSettings, world: World) -> DistributedModelParallel:
    plan = make_plan(model, settings, world)
    if world.is_main and plan.plan:
        print_plan(describe_plan(model, plan, world.size))
    return shard_model(model, plan, settings, world)


def _check(settings: TrainingSettings, loader: Loader, evaluate: Callable | None) -> None:
    if settings.evaluate_every is not None and evaluate is None:
        raise TrainingError("training.evaluate_every is set, but train was given nothing to evaluate with")
    if loader.steps_per_epoch < 1:
        raise TrainingError("the loader has no batch: fewer requests than ranks, or an empty split")


def _check_equal_steps(loader: Loader) -> None:
    steps = gather(loader.steps_per_epoch)
    if len(set(steps)) > 1:
        listed = ", ".join(f"rank {rank} {n}" for rank, n in enumerate(steps))
        raise TrainingError(
            f"steps_per_epoch differs between ranks ({listed}); a rank with more would wait for ever. "
            "Give every rank the same number of batches"
        )


def _fit(position: Position, steps_per_epoch: int) -> Position:
    """The position in passes of another length: the same share of the pass, on another number of ranks."""
    if position.steps_per_epoch == steps_per_epoch:
        return position
    share = position.epoch_step / position.steps_per_epoch
    say(
        f"a pass had {position.steps_per_epoch} steps at the checkpoint and has {steps_per_epoch} now "
        f"(another number of ranks, or other data); going on at {share:.1%} of it"
    )
    epoch_step = min(steps_per_epoch - 1, round(share * steps_per_epoch))
    return replace(position, epoch_step=epoch_step, steps_per_epoch=steps_per_epoch)
