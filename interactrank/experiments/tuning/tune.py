"""A tuning: prepare a log once, try settings of a model, judge them on the validation period, write the best.

The test split is never read. What was tried is in a journal: a tuning that was stopped, by kill -9 too, goes
on where it was, with the training at hand resumed from its checkpoint.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from interactrank.checkpoint.lock import FolderLock
from interactrank.core.errors import UserError
from interactrank.core.extras import require
from interactrank.core.files import atomic_write_text
from interactrank.core.settings import ConfigError, near
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import SplitSettings
from interactrank.evaluation.checks import check_evaluable
from interactrank.evaluation.metrics import headline, higher_is_better
from interactrank.evaluation.metrics.registry import columns
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.experiments.tuning.page import markdown
from interactrank.experiments.tuning.report import Record, best_of, tuning_report
from interactrank.experiments.tuning.space import as_given, search_space, value_at
from interactrank.experiments.tuning.spec import keep_or_move_aside, spec_of
from interactrank.experiments.tuning.study import Study, Trial
from interactrank.experiments.tuning.trial import (
    Judge,
    Outcome,
    forget_weights,
    read_outcome,
    run_trial,
    write_outcome,
)
from interactrank.experiments.tuning.tuned import write_tuned
from interactrank.runs.checks import check_before_training
from interactrank.runs.config import DEFAULT, RunConfig
from interactrank.runs.workflow import Launch, make_dataset, start

__all__ = ["TuningError", "tune"]

logger = logging.getLogger(__name__)

_HOPELESS = 3  # trials that fail before any is measured
_REPEATS = 50  # draws in a row of settings that were tried


class TuningError(UserError, RuntimeError):
    """No trial of a tuning could be measured; quotes why."""


def tune(
    config: RunConfig,
    data: str | Path | None,
    output: Path,
    *,
    model: str = DEFAULT,
    trials: int = 30,
    launch: Launch | None = None,
) -> dict[str, Any]:
    """Try settings of a model until ``trials`` of them are judged; write what was found.

    The first trial is the config as it is. Trials of an earlier start count if they would come out the same;
    if the log, the config or the space has changed, they are moved aside.

    Args:
        config: of the run; its section ``tuning`` says what varies and what counts.
        data: directory of the raw log; None to simulate one.
        output: directory of the tuning, for all models of a config: ``prepared``, ``tuned.yaml`` and, for
            each model, a folder with ``trials.json``, ``trials.md``, the journal and the trials.
        model: a registered model, a variant, or a baseline that has settings.
        trials: to judge, over all starts; settings that were tried before do not count.
        launch: trains a model.

    Returns:
        The report, as written to ``trials.json``.

    Raises:
        ConfigError: the model, the space or the metric cannot be.
        DatasetError: the validation period is empty, or says nothing.
        TuningError: no trial could be measured.
        MissingExtraError: Optuna is not installed.
        PreemptedError: SIGTERM came; starting again goes on.
    """
    require("optuna", "tune")
    if trials < 1:
        raise ConfigError(f"--trials {trials}: at least 1 is needed")
    dimensions = search_space(config, model)
    metric = judged_by(config)
    judged = for_validation(config)
    dataset = make_dataset(judged, data, output)
    check_validation(judged, dataset)
    trained = [] if model in BASELINES else [(model, judged.for_model(model))]
    check_before_training(judged, dataset, trained)
    judge = Judge(judged, model, dimensions, metric, dataset, launch or start)
    folder = output / model
    lock = FolderLock(folder)
    lock.acquire()
    try:
        records = _Tuning(judge, folder, trials).run()
    finally:
        lock.release()
    report = tuning_report(judge, records.done, importance=records.study.importance())
    atomic_write_text(folder / "trials.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    atomic_write_text(folder / "trials.md", f"# Tuning of {model}\n\n{markdown(report)}\n")
    write_tuned(config, output, dataset.manifest["fingerprint"])
    return report


def judged_by(config: RunConfig) -> str:
    """Return the metric that counts.

    Raises:
        ConfigError: there is no such metric, at no such cut-off, or neither direction of it is better.
    """
    known = columns(config.evaluation.ks)
    metric = config.tuning.metric or headline(known)[0]
    if metric not in known:
        raise ConfigError(
            f"tuning.metric: no metric '{metric}'{near(metric, known)}; evaluation.ks sets the cut-offs"
        )
    if higher_is_better(metric) is None:
        raise ConfigError(f"tuning.metric: of {metric} neither higher nor lower is better; name another")
    return metric


def for_validation(config: RunConfig) -> RunConfig:
    """Return the config of the trials: judged on the validation period, without extras of a training.

    Where the split column of a log names no validation requests, the last train requests are taken.

    Raises:
        DatasetError: the config says that nothing validates.
    """
    split, prepare = config.prepare.split, config.prepare
    if config.search.events.split is not None and not split.validation_of_train:
        share = config.tuning.validation_of_train
        prepare = prepare.model_copy(
            update={"split": split.model_copy(update={"validation_of_train": share})}
        )
    by_share = split.test_from is None and split.validation_share == 0
    if config.search.events.split is None and (by_share or _no_days(split)):
        raise DatasetError(
            "the validation period, which a tuning judges on, is empty: set prepare.split.validation_share "
            "above 0, or prepare.split.validation_from before test_from"
        )
    evaluation = config.evaluation.model_copy(update={"split": "validation"})
    training = config.training.model_copy(update={"tensorboard": False})
    return config.model_copy(update={"prepare": prepare, "evaluation": evaluation, "training": training})


def _no_days(split: SplitSettings) -> bool:
    return split.test_from is not None and split.validation_from in (None, split.test_from)


def check_validation(config: RunConfig, dataset: PreparedDataset) -> None:
    """Refuse a validation period that tells no settings apart.

    Raises:
        DatasetError: it has no requests, or no order of their candidates is better than another.
    """
    if dataset.num_requests("validation") == 0:
        raise DatasetError(
            "the validation period, which a tuning judges on, is empty: the log needs requests of split "
            "validation, a config with prepare.split, or tuning.validation_of_train above 0"
        )
    note = check_evaluable(dataset, config.evaluation)
    if note is not None and not note[0].isdigit():
        raise DatasetError(f"{note}; a tuning judges on them")


class _Tuning:
    """The loop over the trials of one model."""

    def __init__(self, judge: Judge, folder: Path, wanted: int) -> None:
        self.judge, self.folder, self.wanted = judge, folder, wanted
        keep_or_move_aside(folder, spec_of(judge))
        given = as_given(judge.config, judge.model)
        self.study = Study(
            folder,
            judge.dimensions,
            maximize=bool(higher_is_better(judge.metric)),
            seed=judge.config.tuning.seed,
            given={dim.key: value_at(given, dim.places) for dim in judge.dimensions},
        )
        self.done = [
            Record(trial, outcome)
            for trial in self.study.finished()
            if (outcome := read_outcome(self._of(trial), trial)) is not None
        ]

    def run(self) -> _Tuning:
        """Run the trials that are missing."""
        repeats = 0
        if self.done:
            logger.info("%d trials of %s are there already", self._judged(), self.judge.model)
        while self._judged() < self.wanted and repeats < _REPEATS:
            trial = self.study.next()
            outcome = read_outcome(self._of(trial), trial)  # of a start that ended before the study was told
            if outcome is None:
                outcome = self._run(trial)
                write_outcome(self._of(trial), trial, outcome)
            repeats = repeats + 1 if outcome.state == "same" else 0
            self.study.tell(trial, outcome.value, diverged=outcome.state == "diverged")
            self.done.append(Record(trial, outcome))
            self._clean()
            self._say(self.done[-1])
            self._give_up_if_hopeless()
        if self._judged() < self.wanted:
            logger.info("the search space has no other settings to try")
        if best_of(self.done, self.judge.metric) is None:
            raise TuningError(f"no trial could be measured: {self.done[-1].outcome.why}")
        return self

    def _run(self, trial: Trial) -> Outcome:
        for record in self.done:
            if record.trial.settings == trial.settings:
                known = record.outcome
                return replace(known, state="same", seconds=0.0, why=str(record.trial.number))
        return run_trial(self.judge, trial, self._of(trial))

    def _judged(self) -> int:
        return sum(record.outcome.state != "same" for record in self.done)

    def _of(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.number:04d}"

    def _clean(self) -> None:
        """Keep the weights of the best trial alone."""
        best = best_of(self.done, self.judge.metric)
        for record in self.done:
            if best is None or record.trial.number != best.trial.number:
                forget_weights(self._of(record.trial))

    def _say(self, record: Record) -> None:
        outcome, best = record.outcome, best_of(self.done, self.judge.metric)
        if outcome.state == "same":
            return
        line = f"trial {self._judged()} of {self.wanted}, {outcome.seconds:.0f} s"
        if outcome.value is None or best is None:
            logger.warning("%s: %s: %s", line, outcome.state, outcome.why)
            return
        settings = " ".join(f"{key}={_short(value)}" for key, value in record.trial.settings.items())
        logger.info(
            "%s: %s %.4f, best %.4f (trial %d): %s",
            line,
            self.judge.metric,
            outcome.value,
            best.outcome.value,
            best.trial.number,
            settings,
        )

    def _give_up_if_hopeless(self) -> None:
        if len(self.done) >= _HOPELESS and all(r.outcome.state == "failed" for r in self.done):
            raise TuningError(
                f"the first {len(self.done)} trials failed, so that no other is tried: "
                f"{self.done[-1].outcome.why}; what they printed is in '{self.folder / 'trials'}'"
            )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
