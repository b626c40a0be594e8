"""One trial of a tuning: train with its settings, measure on the validation period, keep what came of it."""

from __future__ import annotations

import json
import math
import shutil
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from interactrank.core.errors import USER_ERRORS, cannot_write
from interactrank.core.files import atomic_write_text
from interactrank.core.settings import ConfigError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.preemption import PreemptedError
from interactrank.evaluation.metric_frame import frame_means
from interactrank.evaluation.metrics import headline
from interactrank.evaluation.metrics_json import plain
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.experiments.tuning.space import Dimension, changes_of
from interactrank.experiments.tuning.study import Trial
from interactrank.runs.config import RunConfig
from interactrank.runs.evaluation import measure
from interactrank.runs.workflow import Launch, Training, train_one
from interactrank.training.monitor import NOT_FINITE, NonFiniteLossError

__all__ = ["Judge", "Outcome", "forget_weights", "read_outcome", "run_trial", "write_outcome"]

OUTCOME = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        state: ``complete``; ``diverged``, the loss became NaN or infinite; ``failed`` for any other error;
            ``same`` as an earlier trial, and not run again.
        value: of the metric that is judged by; None if there is none.
        metrics: headline metric -> value on the validation period; None where it is not defined.
        seconds: that training and measuring took.
        why: of a trial without a value, in one line; the number of the same trial.
    """

    state: Literal["complete", "diverged", "failed", "same"]
    value: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Judge:
    """What a trial is run with and judged by, the same for all trials.

    Attributes:
        config: that the settings of a trial change.
        model: its name.
        dimensions: what is varied.
        metric: that counts.
        dataset: shared by the trials.
        launch: trains a model.
    """

    config: RunConfig
    model: str
    dimensions: Sequence[Dimension]
    metric: str
    dataset: PreparedDataset
    launch: Launch


def run_trial(judge: Judge, trial: Trial, folder: Path) -> Outcome:
    """Train and measure; an error of the trial is its outcome, not the end of the tuning.

    Args:
        judge: of all trials.
        trial: its settings.
        folder: run directory of the trial; a training that was stopped there goes on.

    Raises:
        PreemptedError: the job is asked to stop.
        StoppedError: a signal stopped the ranks.
        OSError: the disk is full or cannot be written.
    """
    began = time.monotonic()
    try:
        metrics = _measured(judge, trial, folder)
    except PreemptedError:
        raise
    except Exception as error:
        if getattr(error, "exit_code", 1) == PreemptedError.exit_code or cannot_write(error) is not None:
            raise
        if not isinstance(error, USER_ERRORS):
            traceback.print_exc()
        return Outcome(_state(error), seconds=time.monotonic() - began, why=_one_line(error))
    seconds, value = time.monotonic() - began, metrics[judge.metric]
    if not math.isfinite(value):
        return Outcome("failed", seconds=seconds, why=f"{judge.metric} is not defined for its scores")
    return Outcome("complete", value, dict(metrics), seconds)


def _state(error: Exception) -> Literal["diverged", "failed"]:
    # Ranks of their own tell why they failed in words alone.
    return "diverged" if isinstance(error, NonFiniteLossError) or NOT_FINITE in str(error) else "failed"


def _one_line(error: Exception) -> str:
    """Return the first line of an error; all lines of a config's, which lists its mistakes."""
    lines = str(error).strip().split("\n")
    told = lines if isinstance(error, ConfigError) else lines[:1]
    return " ".join(line.strip() for line in told) or type(error).__name__


def _measured(judge: Judge, trial: Trial, folder: Path) -> dict[str, float]:
    """Return the metrics of a trial."""
    changes = changes_of(judge.dimensions, trial.settings)
    config = judge.config.with_settings(judge.model, changes)
    trained = None
    if judge.model not in BASELINES:
        file = folder / "trial.yaml"
        atomic_write_text(file, config.dump())
        training = Training(
            model=judge.model,
            directory=folder,
            config=config,
            label=f"trial {trial.number}",
            log_file=folder / "training.log",
        )
        train_one(training, judge.dataset, file, judge.launch)
        trained = folder
    measured = measure(config, judge.dataset, {judge.model: trained}, limit=config.tuning.requests)
    frame = measured.frames[judge.model]
    names = dict.fromkeys([judge.metric, *headline(frame)])
    return {name: mean for name, (mean, _) in frame_means(frame, list(names)).items()}


def read_outcome(folder: Path, trial: Trial) -> Outcome | None:
    """Return what came of a trial; None if it has not ended, or the folder is that of other settings."""
    try:
        found = json.loads((folder / OUTCOME).read_text())
        return Outcome(**found["outcome"]) if found["settings"] == trial.settings else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_outcome(folder: Path, trial: Trial, outcome: Outcome) -> None:
    """Keep what came of a trial, before the study is told: a start after a crash finds it."""
    values = {"settings": trial.settings, "outcome": asdict(outcome)}
    atomic_write_text(folder / OUTCOME, json.dumps(plain(values), indent=1, allow_nan=False) + "\n")


def forget_weights(folder: Path) -> None:
    """Delete the weights and checkpoints of a trial, which nothing reads again."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "model.safetensors").unlink(missing_ok=True)
