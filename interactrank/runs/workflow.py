"""The one flow of ``run`` and ``ablate``: simulate, prepare, check, train, evaluate.

What an earlier start into the same directory has done is kept if it would come out the same.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from interactrank.core.errors import USER_ERRORS
from interactrank.core.files import atomic_write_text
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.preemption import PreemptedError
from interactrank.evaluation.comparison import Comparison
from interactrank.runs.checks import check_before_start, check_before_training
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import open_dataset, prepare_dataset, simulate_log
from interactrank.runs.evaluation import Measured, measure, write_comparison
from interactrank.runs.run_directory import RunSpec, is_trained, move_aside, open_or_resume
from interactrank.runs.training import train_model

__all__ = ["Launch", "Training", "execute", "make_dataset", "run_models", "start", "train_one"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One model to train.

    Attributes:
        model: its name in the config.
        directory: its run directory.
        config: that it is trained with, seeds included.
        label: for messages; unique.
        log_file: keeps what the training prints; None to show it.
    """

    model: str
    directory: Path
    config: RunConfig
    label: str
    log_file: Path | None = None


Launch = Callable[[Training, Path, Path], None]
"""Called with a training, the dataset's directory and the file of the config."""


def run_models(
    config: RunConfig, data: str | Path | None, output: Path, *, launch: Launch | None = None
) -> Comparison:
    """Go from a raw log (or a simulated one) to the report: prepare, train every model, evaluate.

    Args:
        config: the run's settings.
        data: directory of the raw log; None to simulate one.
        output: directory of the run.
        launch: trains a model; :func:`start` when left out.

    Returns:
        The comparison, as written to ``metrics.json``.

    Raises:
        UserError: of any of the steps.
    """
    trainings = {
        name: Training(model=name, directory=output / name, config=config, label=name)
        for name in config.trained
    }
    models = {name: trainings.get(name) for name in config.models}
    measured, _ = execute(config, data, output, models, launch=launch)
    return write_comparison(config, measured, {n: t.directory for n, t in trainings.items()}, output)


def execute(
    config: RunConfig,
    data: str | Path | None,
    output: Path,
    models: Mapping[str, Training | None],
    *,
    launch: Launch | None = None,
    keep_going: bool = False,
) -> tuple[Measured, dict[str, str]]:
    """Simulate or take a log, prepare it, check, train and measure all models.

    Args:
        config: the run's settings; written to ``config.yaml``, which the ranks read.
        data: directory of the raw log; None to simulate one.
        output: directory of the run: ``log``, ``prepared`` and ``config.yaml``.
        models: key -> training; None for the baseline of that name.
        launch: trains a model; :func:`start` when left out.
        keep_going: train the others if one fails.

    Returns:
        What was measured, and label -> why for trainings that failed.

    Raises:
        UserError: of any of the steps.
    """
    trainings = [training for training in models.values() if training is not None]
    dataset = make_dataset(config, data, output)
    check_before_training(config, dataset, [(t.model, t.config.for_model(t.model)) for t in trainings])
    failed = _train(trainings, dataset, output / "config.yaml", launch or start, keep_going=keep_going)
    done = {key: None if t is None else t.directory for key, t in models.items()}
    found = {key: path for key, path in done.items() if path is None or is_trained(path)}
    return measure(config, dataset, found), failed


def make_dataset(config: RunConfig, data: str | Path | None, output: Path) -> PreparedDataset:
    """Check, simulate or take a log, prepare it and open it; what is there already is kept if it is the same.

    Args:
        config: the run's settings; written to ``config.yaml``.
        data: directory of the raw log; None to simulate one.
        output: directory of the run: ``log``, ``prepared`` and ``config.yaml``.

    Raises:
        UserError: of any of the steps.
    """
    check_before_start(config, data, output)
    if data is None:
        data = simulate_log(config, output / "log")
    prepare_dataset(config, data, output / "prepared")
    atomic_write_text(output / "config.yaml", config.dump())
    return open_dataset(config, output / "prepared")


def start(training: Training, data: Path, config_file: Path) -> None:
    """Train on ``ranks`` of the config: in this process for one rank, which saves its start, else by torchx.

    Args:
        training: the model.
        data: directory of the dataset.
        config_file: where the config is, except for the seeds of the training.
    """
    config = training.config
    if config.ranks == 1:
        hook = sys.excepthook
        try:
            train_model(config, data, training.directory, model=training.model)
        finally:
            sys.excepthook = hook  # torch.distributed adds "[rank0]: " to errors, once more each time
        return
    from interactrank.runs.local import launch_training

    launch_training(
        config=config_file,
        data=data,
        output=training.directory,
        model=training.model,
        ranks=config.ranks,
        overrides=(f"training.seed={config.training.seed}", f"loader.seed={config.loader.seed}"),
    )


def _train(
    trainings: Sequence[Training],
    dataset: PreparedDataset,
    config_file: Path,
    launch: Launch,
    *,
    keep_going: bool,
) -> dict[str, str]:
    """Train what is not trained yet; return label -> why for those that failed."""
    failed: dict[str, str] = {}
    for number, training in enumerate(trainings, start=1):
        line, began = f"model {number} of {len(trainings)}: {training.label}", time.monotonic()
        try:
            trained = train_one(training, dataset, config_file, launch)
        except PreemptedError:
            raise  # the whole job is asked to stop, not only this model
        except Exception as error:
            if not keep_going:
                raise
            if not isinstance(error, USER_ERRORS):
                traceback.print_exc()
            failed[training.label] = str(error).partition("\n")[0]
            logger.error("%s: failed: %s", line, error)
        else:
            took = f"{time.monotonic() - began:.0f} s"
            logger.info("%s: %s", line, took if trained else f"trained already, in {training.directory}")
    return failed


def train_one(training: Training, dataset: PreparedDataset, config_file: Path, launch: Launch) -> bool:
    """Train a model unless it is trained already; a model of other settings is moved aside first.

    Args:
        training: the model.
        dataset: that it is trained on.
        config_file: where the config is, except for the seeds of the training.
        launch: trains it.

    Returns:
        Whether it had to be trained.

    Raises:
        UserError: of the training.
    """
    spec = RunSpec.of(training.model, training.config.for_model(training.model), dataset)
    move_aside(training.directory, spec)
    open_or_resume(training.directory, spec)
    if is_trained(training.directory):
        return False
    with ExitStack() as stack:
        if training.log_file is not None:
            file = stack.enter_context(training.log_file.open("a"))
            stack.enter_context(redirect_stdout(file))
            stack.enter_context(redirect_stderr(file))
        launch(training, dataset.folder, config_file)
    return True
