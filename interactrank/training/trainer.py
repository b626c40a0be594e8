"""The training loop of ``interactrank train``: the first user of the parts in this package."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel

from interactrank.checkpoint.lock import folder_lock
from interactrank.checkpoint.weights import save_model
from interactrank.core.errors import TrainingError
from interactrank.distributed.collectives import all_gather_objects, raise_on_all_ranks
from interactrank.distributed.preemption import Agreement, PreemptedError, StopSignal
from interactrank.distributed.world import current_world
from interactrank.sharding.managed import managed_report, managed_totals
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.training.data_position import Loader, Segment
from interactrank.training.messages import counted_messages
from interactrank.training.metrics_log import MetricsLogger, MetricsRow
from interactrank.training.monitor import Window, check_finite_state
from interactrank.training.preflight import check_settings
from interactrank.training.progress import ProgressReport
from interactrank.training.session import Session, setup
from interactrank.training.settings import TrainingSettings

__all__ = ["Loader", "TrainingResult", "Validate", "train"]

logger = logging.getLogger(__name__)

COUNTED_STEP = 4  # of a start: DDP arranges its buckets in the second step


class Validate(Protocol):
    """Called on all ranks at the same step with the model in evaluation mode."""

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        """Return metrics by name, the same on all ranks."""


@dataclass(frozen=True)
class TrainingResult:
    """The end of a run.

    Attributes:
        step: steps done, over all starts; with early stopping that of the best validation.
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
    start_from: str | os.PathLike[str] | None = None,
    loads: Mapping[str, TableLoad] | None = None,
) -> TrainingResult:
    """Train ``model``; call it on every rank, within ``with process_group():``.

    ``output_dir`` gets ``metrics.jsonl``, ``plan.json``, ``checkpoints/``, ``model.safetensors`` and, if
    asked, ``tensorboard/``. With ``early_stopping`` the model is that of the best validation.

    Args:
        model: batch -> (loss, outputs): any module with TorchRec collections. The loss is the mean over the
            rank's batch; entries ``loss/<part>`` of outputs are logged. Its collections are replaced in
            place. The ranks must build it from the same seed.
        loader: this rank's batches.
        settings: how to train.
        output_dir: folder of the run, seen by all ranks.
        validate: called every ``settings.validate_every`` steps and at the end.
        resume: resume from the newest checkpoint of ``output_dir``, if there is one.
        plan: a file of :func:`~interactrank.sharding.write_plan`; the planner makes one when left out.
        start_from: a checkpoint of another run, of the same model whose tables may have had fewer rows:
            weights and optimizer state to begin with.
        loads: table -> what a step asks of it on each rank, for the planner.

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
    world, output = current_world(), Path(output_dir)  # raises if there is no process group
    with raise_on_all_ranks("checking the arguments of train"):
        _check(settings, loader, validate)
    _check_equal_steps(loader)
    with folder_lock(output), StopSignal() as stop:
        session = setup(
            model, loader, settings, output, resume=resume, plan=plan, start_from=start_from, loads=loads
        )
        start, total = session.data.start.step, session.data.total
        with raise_on_all_ranks("opening the metrics log"):
            metrics = MetricsLogger(output, step=start, write=world.is_main, tensorboard=settings.tensorboard)
        show = ProgressReport(total=total, step=start, show=world.is_main)
        with metrics, session.checkpoints, show as progress:
            _Loop(session, settings, validate, metrics, progress, stop).run()
            session.checkpoints.wait()
            step = _restore_best(session, settings, metrics.rows)
        for line in managed_totals(metrics.rows):
            logger.info(line)
        save_model(session.dmp, output / "model.safetensors")
    return TrainingResult(max(total, start) if step is None else step, metrics.rows, session.dmp)


@dataclass
class _Loop:
    """The steps of a run, and what happens between them."""

    session: Session
    settings: TrainingSettings
    validate: Validate | None
    metrics: MetricsLogger
    progress: ProgressReport
    stop: StopSignal
    window: Window = field(default_factory=Window)
    messages: MetricsRow = field(default_factory=dict)

    def __post_init__(self) -> None:
        gradients = self.session.dmp.dense_gradients
        # On a GPU the answer would have to be waited for; over gloo it arrives meanwhile.
        carried = gradients is not None and self.session.world.device.type == "cpu"
        self.agreement = Agreement(gradients.sums if carried else None)

    def run(self) -> None:
        """Run the remaining steps, or those until a rank is asked to stop or validations become no better."""
        if self._is_over():
            return
        for segment in self.session.data.segments(
            self.settings.validate_every, self.settings.checkpoint_every
        ):
            for step in segment:
                self._count_or_step(step, segment)
                if step < segment.last and step % self.settings.log_every == 0:
                    self._write(self._row(step))
            self._end_segment(segment)
            if self._is_over():
                break
        self.session.pipeline.detach()  # the trained model can be called like any other

    def _count_or_step(self, step: int, segment: Segment) -> None:
        """Do a step, and count the messages of one, after those that set the job up."""
        if self.session.world.size == 1 or step != self.session.data.start.step + COUNTED_STEP:
            return self._step(step, segment)
        with counted_messages() as messages:
            self._step(step, segment)
        everyone = all_gather_objects(messages)  # a rank's bytes depend on its tables; rows are those of all
        names = dict.fromkeys(name for of in everyone for name in of)
        self.messages = {name: sum(of.get(name, 0.0) for of in everyone) / len(everyone) for name in names}
        return None

    def _step(self, step: int, segment: Segment) -> None:
        # The ranks agree on stopping while the step computes.
        self.agreement.ask(self.stop.requested, self.session.checkpoints.has_failed)
        result = self.session.step(step, segment)
        self.window.add(step, result, self.session.optimizer.grad_norm)
        self.progress.advance()
        asked_to_stop, save_failed = self.agreement.answer()
        if save_failed:
            self.session.checkpoints.wait()  # raises why
        if asked_to_stop:
            segment.stop_after(step + self.session.pipeline.prefetched)

    def _end_segment(self, segment: Segment) -> None:
        """Validate, report and save, as far as due after the last step of a segment."""
        step, session = segment.last, self.session
        saving = segment.stopped or self._due(step, self.settings.checkpoint_every)
        row = self._row(step)
        if saving:
            check_finite_state(session.dmp, step)
        if self.validate is not None and self._due(step, self.settings.validate_every):
            with session.evaluation() as model:
                metrics = self.validate(model, step)
            metrics = all_gather_objects(metrics)[0]  # early stopping must decide alike on all ranks
            row |= {f"validation/{name}": float(value) for name, value in metrics.items()}
        self._write(row)
        if self._is_best_or_last(step):
            if not saving:
                check_finite_state(session.dmp, step)
            saving = True
        if saving:
            session.save(step)
        if segment.stopped and step < session.data.total:
            session.checkpoints.wait()
            raise PreemptedError(
                f"asked to stop (SIGTERM); step {step} of {session.data.total} is saved, start it again to "
                "resume"
            )
        self.window.restart_clock()

    def _is_best_or_last(self, step: int) -> bool:
        """Return whether early stopping needs a checkpoint of a step, and protect that of the best one.

        The best step always has one, and the newest one is never older: so a run that is killed resumes after
        the best validation that it knows of.
        """
        if self.settings.early_stopping is None:
            return False
        progress = self.settings.early_stopping.progress(self.metrics.rows)
        self.session.checkpoints.protected = progress.best_step or None
        return step == progress.best_step or progress.is_over

    def _is_over(self) -> bool:
        stopping = self.settings.early_stopping
        return stopping is not None and stopping.progress(self.metrics.rows).is_over

    def _row(self, step: int) -> MetricsRow:
        """Return the metrics of the steps since the last row; raise if a loss among them is not finite."""
        session, settings = self.session, self.settings
        row: MetricsRow = {"step": step, "epoch": session.data.position(step - 1).epoch}
        row |= self.window.close(lambda at: next(session.data.batches(at - 1)))
        row["lr"] = settings.dense_optimizer.lr * session.optimizer.factor
        row["lr_tables"] = settings.table_optimizer.lr * session.optimizer.factor
        row |= self.messages
        self.messages = {}
        return row | managed_report(session.dmp)

    def _write(self, row: MetricsRow) -> None:
        self.metrics.add(row)
        self.progress.row(row)
        self.window.restart_clock()

    def _due(self, step: int, every: int | None) -> bool:
        return step == self.session.data.total or (every is not None and step % every == 0)


def _restore_best(session: Session, settings: TrainingSettings, rows: list[MetricsRow]) -> int | None:
    """Load the checkpoint of the best validation, and return its step; None without early stopping."""
    if settings.early_stopping is None:
        return None
    progress = settings.early_stopping.progress(rows)
    if progress.best_step == 0:
        raise TrainingError(
            f"training.early_stopping.metric: no validation gave {settings.early_stopping.metric} a value, "
            "so that none is the best; validate on samples for which it is defined, or name another metric"
        )
    session.checkpoints.load(session.checkpoints.path(progress.best_step), session.dmp, session.optimizer)
    logger.info(
        "the model is that of step %d: %s %.4f, the best validation",
        *(progress.best_step, settings.early_stopping.metric, progress.best),
    )
    return progress.best_step


def _check(settings: TrainingSettings, loader: Loader, validate: Validate | None) -> None:
    check_settings(settings, current_world().device.type)
    if settings.validate_every is not None and validate is None:
        raise TrainingError("training.validate_every is set, but train was given no function `validate`")
    if loader.steps_per_epoch < 1:
        raise TrainingError("the loader has no batch: fewer samples than ranks, or an empty split")
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0))
    if restarts and settings.checkpoint_every is None:
        logger.info(
            "training.checkpoint_every is not set: up to %d restarts are allowed, and each would begin from "
            "the start",
            restarts,
        )


def _check_equal_steps(loader: Loader) -> None:
    steps = all_gather_objects(loader.steps_per_epoch)
    if len(set(steps)) > 1:
        listed = ", ".join(f"rank {rank} {n}" for rank, n in enumerate(steps))
        raise TrainingError(
            f"steps_per_epoch differs between ranks ({listed}); a rank with more would wait for ever. "
            "Give every rank the same number of batches"
        )
