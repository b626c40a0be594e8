"""The metrics of an evaluation as ``metrics.json``."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interactrank.core.files import atomic_write_text
from interactrank.core.installed import installed_versions
from interactrank.evaluation.slices import SliceMetrics
from interactrank.evaluation.stats.bootstrap import Interval
from interactrank.evaluation.stats.paired import PairedDifference

__all__ = ["plain", "write_metrics_json"]

ModelMetrics = Mapping[str, Mapping[str, Interval]]


def write_metrics_json(
    path: str | os.PathLike[str],
    models: ModelMetrics,
    *,
    data: Mapping[str, Any] | None = None,
    slices: Mapping[str, Mapping[str, Mapping[str, SliceMetrics]]] | None = None,
    paired: Mapping[str, Mapping[str, PairedDifference]] | None = None,
    per_user: ModelMetrics | None = None,
    pessimistic: Mapping[str, Mapping[str, float]] | None = None,
    probabilities: ModelMetrics | None = None,
) -> dict[str, Any]:
    """Write ``metrics.json`` whole or not at all.

    Args:
        path: the file.
        models: ``{model: {metric: Interval}}``.
        data: what was evaluated: numbers of requests and items, periods, paths. Numpy numbers are allowed.
        slices: ``{model: {slice: {label: SliceMetrics}}}``.
        paired: ``{"interactrank - two_tower": {metric: PairedDifference}}``.
        per_user: as ``models``, every user counting once.
        pessimistic: ``{model: {metric: value}}`` with relevant candidates last among tied ones, written into
            the metric's entry.
        probabilities: as ``models``, metrics of predicted probabilities.

    Returns:
        What was written: ``{"models": {model: {metric: {"value", "low", "high", "requests",
        "pessimistic"}}}, "data", "slices", "paired", "per_user", "probabilities", "versions"}``. NaN is
        written as ``null``, as JSON has no NaN.

    Raises:
        TypeError: ``data`` holds something that JSON cannot.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     models = {"bm25": {"mrr": Interval(0.6, 0.5, 0.7, 9)}}
        ...     content = write_metrics_json(folder + "/metrics.json", models)
        >>> content["models"]
        {'bm25': {'mrr': {'value': 0.6, 'low': 0.5, 'high': 0.7, 'requests': 9}}}
    """
    content = plain(
        {
            "models": _with_pessimistic(models, pessimistic or {}),
            "data": data or {},
            "slices": slices or {},
            "paired": paired or {},
            "per_user": per_user or {},
            "probabilities": probabilities or {},
            "versions": installed_versions(),
        }
    )
    atomic_write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return content


def _with_pessimistic(
    models: ModelMetrics, pessimistic: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, dict[str, Any]]]:
    entries: dict[str, dict[str, dict[str, Any]]] = {}
    for model, metrics in models.items():
        worst = pessimistic.get(model, {})
        entries[model] = {
            name: {**interval._asdict(), **({"pessimistic": worst[name]} if name in worst else {})}
            for name, interval in metrics.items()
        }
    return entries


def plain(value: Any) -> Any:
    """Return the value in JSON's own types, which have no NaN: it becomes None, as infinity does."""
    if isinstance(value, SliceMetrics):
        return {"requests": value.requests, "metrics": plain(value.metrics)}
    if isinstance(value, Interval | PairedDifference):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
