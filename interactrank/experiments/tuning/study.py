"""Optuna's part of a tuning: the sampler, and the journal that a tuning goes on from.

The sampler of each trial is seeded by the number of the trial, so that a tuning that was stopped and started
again tries what it would have tried.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.experiments.tuning.space import Dimension

__all__ = ["JOURNAL", "Study", "Trial"]

JOURNAL = "study.journal"
_FEWEST = 5  # trials that importances are told of


@dataclass(frozen=True)
class Trial:
    """One try.

    Attributes:
        number: 0 is the first.
        settings: key -> value.
    """

    number: int
    settings: dict[str, Any]


class Study:
    """The trials of one tuning, in a journal file.

    Args:
        folder: of the journal; goes on with what is there.
        dimensions: what is varied.
        maximize: whether a higher value is better.
        seed: of the sampler.
        given: key -> value of the settings as they are, tried first; what is not in its domain is drawn.

    Raises:
        MissingExtraError: Optuna is not installed.
    """

    def __init__(
        self,
        folder: Path,
        dimensions: Sequence[Dimension],
        *,
        maximize: bool,
        seed: int,
        given: Mapping[str, Any],
    ) -> None:
        self._optuna = optuna = require("optuna", "tune")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._dimensions, self._seed = dimensions, seed
        self._distributions = {dim.key: dim.distribution() for dim in dimensions}
        self._states = optuna.trial.TrialState
        journal = require("optuna.storages.journal", "tune").JournalFileBackend(str(folder / JOURNAL))
        self._study = optuna.create_study(
            storage=optuna.storages.JournalStorage(journal),
            study_name="tuning",
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
        if not self._study.get_trials(deepcopy=False):
            encoded = {dim.key: dim.encode(given.get(dim.key)) for dim in dimensions}
            self._study.enqueue_trial({key: value for key, value in encoded.items() if value is not None})

    def next(self) -> Trial:
        """Return the trial that an earlier start did not finish, or a new one."""
        for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            if trial.params.keys() == self._distributions.keys():
                return Trial(trial.number, self._decoded(trial.params))
            self._study.tell(trial.number, state=self._states.FAIL)  # stopped while it was drawn
        number = len(self._study.get_trials(deepcopy=False, states=self._finished))
        self._study.sampler = self._optuna.samplers.TPESampler(seed=(self._seed * 100_003 + number) % 2**32)
        asked = self._study.ask(self._distributions)
        return Trial(asked.number, self._decoded(asked.params))

    def finished(self) -> list[Trial]:
        """Return the trials that have ended, however, in order."""
        found = self._study.get_trials(deepcopy=False, states=self._finished)
        return [
            Trial(t.number, self._decoded(t.params))
            for t in found
            if t.params.keys() == self._distributions.keys()
        ]

    def tell(self, trial: Trial, value: float | None, *, diverged: bool = False) -> None:
        """Note how a trial ended.

        Args:
            trial: of :meth:`next`.
            value: of the metric; None if it has none.
            diverged: it has none because its settings are bad, which the sampler then avoids.
        """
        if value is not None:
            self._study.tell(trial.number, value)
        else:
            self._study.tell(trial.number, state=self._states.PRUNED if diverged else self._states.FAIL)

    def importance(self) -> dict[str, float]:
        """Return key -> share of what mattered for reaching the best tenth of the trials (PED-ANOVA).

        Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
        Subspaces", IJCAI 2023. Empty with fewer than five measured trials, or if all have one value.
        """
        complete = self._study.get_trials(deepcopy=False, states=(self._states.COMPLETE,))
        if len(complete) < _FEWEST or len({trial.value for trial in complete}) < 2:
            return {}
        of = require("optuna.importance", "tune")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = of.get_param_importances(self._study, evaluator=of.PedAnovaImportanceEvaluator())
        return {key: float(share) for key, share in found.items()}

    @property
    def _finished(self) -> tuple[Any, ...]:
        return self._states.COMPLETE, self._states.PRUNED, self._states.FAIL

    def _decoded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {dim.key: dim.decode(params[dim.key]) for dim in self._dimensions}
