"""What a tuning found, in JSON's types: every trial, the best, what mattered, and what the range cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interactrank.core.installed import installed_versions, version_of
from interactrank.evaluation.metrics import higher_is_better
from interactrank.evaluation.metrics_json import plain
from interactrank.experiments.tuning.space import as_given, value_at
from interactrank.experiments.tuning.study import Trial
from interactrank.experiments.tuning.trial import Judge, Outcome

__all__ = ["Record", "best_of", "tuning_report"]


@dataclass(frozen=True)
class Record:
    """A trial that has ended."""

    trial: Trial
    outcome: Outcome


def best_of(records: Sequence[Record], metric: str) -> Record | None:
    """Return the best trial, the first of equal ones; None if none was measured.

    Args:
        records: of trials.
        metric: that counts.
    """
    measured = [r for r in records if r.outcome.state == "complete" and r.outcome.value is not None]
    sign = 1 if higher_is_better(metric) else -1
    return max(measured, key=lambda r: sign * (r.outcome.value or 0.0), default=None)


def tuning_report(judge: Judge, records: Sequence[Record], importance: Mapping[str, float]) -> dict[str, Any]:
    """Return the report of a tuning.

    Args:
        judge: of the trials.
        records: of all trials that have ended.
        importance: key -> share.

    Returns:
        ``model``, ``metric``, ``data``, ``space``, ``trials``, ``best``, ``given`` (the trial of the
        config as it was, if there is one), ``importance``, ``at_edge`` and ``versions``.
    """
    best = best_of(records, judge.metric)
    assert best is not None, "a tuning without a measured trial has no report"
    config, dataset = judge.config, judge.dataset
    before = as_given(config, judge.model)
    given = {dim.key: value_at(before, dim.places) for dim in judge.dimensions}
    first = next((r for r in records if r.trial.settings == given and r.outcome.state == "complete"), None)
    report = {
        "model": judge.model,
        "metric": judge.metric,
        "data": {
            "split": "validation",
            "candidates": config.evaluation.candidates,
            "requests": config.tuning.requests or dataset.num_requests("validation"),
            "train_requests": dataset.num_requests("train"),
            "dataset": dataset.manifest["fingerprint"],
        },
        "seeds": {
            "sampler": config.tuning.seed,
            "training": config.training.seed,
            "loader": config.loader.seed,
        },
        "space": {dim.key: dim.plain() for dim in judge.dimensions},
        "best": _named(best),
        "given": None if first is None else _named(first),
        "given_settings": given,
        "importance": dict(importance),
        "at_edge": [d.key for d in judge.dimensions if d.near_edge(best.trial.settings[d.key])],
        "trials": [{**_named(r), "state": r.outcome.state, **_more(r.outcome)} for r in records],
        "versions": {**installed_versions(), "optuna": version_of("optuna")},
    }
    written: dict[str, Any] = plain(report)
    return written


def _named(record: Record) -> dict[str, Any]:
    return {
        "trial": record.trial.number,
        "value": record.outcome.value,
        "settings": record.trial.settings,
    }


def _more(outcome: Outcome) -> dict[str, Any]:
    return {"metrics": outcome.metrics, "seconds": round(outcome.seconds, 1), "why": outcome.why}
