"""The metrics of an evaluation as a table on the console and as ``metrics.json``."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from interactrank.core.files import atomic_write_text
from interactrank.evaluation.intervals import Interval
from interactrank.evaluation.paired import PairedDifference
from interactrank.evaluation.slices import SliceMetrics

__all__ = [
    "LOWER_IS_BETTER",
    "best_models",
    "metrics_table",
    "plain",
    "print_metrics",
    "versions",
    "write_metrics_json",
]

LOWER_IS_BETTER = frozenset({"first_rank", "ne"})
"""Metrics of which the smallest value is the best; of every other it is the largest."""

_PACKAGES = {
    "interactrank": ("interactrank",),
    "torch": ("torch",),
    "torchrec": ("torchrec",),
    "fbgemm": ("fbgemm_gpu", "fbgemm-gpu", "fbgemm-gpu-cpu"),
    "numpy": ("numpy",),
}

ModelMetrics = Mapping[str, Mapping[str, Interval]]


def best_models(models: ModelMetrics, metric: str, *, digits: int = 3) -> set[str]:
    """The models with the best value of a metric, equal ones included.

    Args:
        models: ``{model: {metric: Interval}}``; a model may lack the metric.
        metric: its name; :data:`LOWER_IS_BETTER` tells the direction.
        digits: values that are printed alike count as equal.

    Returns:
        Names of models; none where no model has a value.

    Example::

        >>> models = {"a": {"mrr": Interval(0.5, 0.4, 0.6, 9)}, "b": {"mrr": Interval(0.2, 0.1, 0.3, 9)}}
        >>> best_models(models, "mrr")
        {'a'}
    """
    values = {
        model: round(metrics[metric].value, digits)
        for model, metrics in models.items()
        if metric in metrics and not math.isnan(metrics[metric].value)
    }
    best = (min if metric in LOWER_IS_BETTER else max)(values.values(), default=None)
    return {model for model, value in values.items() if value == best}


def metrics_table(
    models: ModelMetrics,
    metrics: Sequence[str] | None = None,
    *,
    ceilings: Mapping[str, float] | None = None,
    title: str | None = None,
    digits: int = 3,
    confidence: float = 0.95,
) -> Table:
    """A rich table: a row per model, a column per metric, each value over its interval, the best in bold.

    Args:
        models: ``{model: {metric: Interval}}``, in the order of the rows.
        metrics: the columns; those of the first model when left out.
        ceilings: ``{metric: value}`` that no ranker can pass (known for simulated logs), as a last row.
        title: above the table.
        digits: decimals shown.
        confidence: of the intervals, named in the caption.

    Returns:
        The table; its caption states the number of requests.

    Raises:
        ValueError: no model.

    Example::

        >>> table = metrics_table({"bm25": {"mrr": Interval(0.604, 0.591, 0.617, 4906)}})
        >>> print(table.caption)
        4,906 requests · below each value its 95 % bootstrap interval · best in bold
    """
    if not models:
        raise ValueError("no model to print; evaluate at least one")
    names = list(metrics) if metrics is not None else list(next(iter(models.values())))
    best = {name: best_models(models, name, digits=digits) for name in names}
    table = Table(
        title=title,
        title_style="bold",
        caption=_caption(models, names, confidence),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for model, values in models.items():
        cells = [_cell(values.get(name), model in best[name], digits) for name in names]
        table.add_row(Text(model), *cells)
    if ceilings:
        cells = [Text(f"{ceilings[name]:.{digits}f}" if name in ceilings else "") for name in names]
        table.add_row(Text("optimum"), *cells, style="dim italic")
    return table


def print_metrics(
    models: ModelMetrics,
    metrics: Sequence[str] | None = None,
    *,
    ceilings: Mapping[str, float] | None = None,
    title: str | None = None,
    digits: int = 3,
    confidence: float = 0.95,
    console: Console | None = None,
) -> None:
    """Prints :func:`metrics_table`, never so narrow that a number is cut.

    Args:
        models: ``{model: {metric: Interval}}``.
        metrics: the columns; those of the first model when left out.
        ceilings: ``{metric: value}`` that no ranker can pass.
        title: above the table.
        digits: decimals shown.
        confidence: of the intervals.
        console: where to print; standard output when left out.

    Example::

        >>> models = {"bm25": {"hit@3": Interval(0.732, 0.72, 0.744, 4906)}}
        >>> print_metrics(models, title="one week")  # doctest: +ELLIPSIS +NORMALIZE_WHITESPACE
            one week
        model      hit@3
        ...
        bm25       0.732
               .720-.744
        ...
    """
    console = console or Console()
    table = metrics_table(
        models, metrics, ceilings=ceilings, title=title, digits=digits, confidence=confidence
    )
    # Measured against a wide console: against a narrow one the answer is its own width.
    needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    width = console.width
    try:
        console.width = max(width, needed)
        console.print(table)
    finally:
        console.width = width


def write_metrics_json(
    path: str | os.PathLike[str],
    models: ModelMetrics,
    *,
    data: Mapping[str, Any] | None = None,
    slices: Mapping[str, Mapping[str, Mapping[str, SliceMetrics]]] | None = None,
    paired: Mapping[str, Mapping[str, PairedDifference]] | None = None,
    per_user: ModelMetrics | None = None,
) -> dict[str, Any]:
    """Writes ``metrics.json`` whole or not at all.

    Args:
        path: the file.
        models: ``{model: {metric: Interval}}``.
        data: what was evaluated: numbers of requests and items, periods, paths. Numpy numbers are allowed.
        slices: ``{model: {slice: {label: SliceMetrics}}}``.
        paired: ``{"interactrank - two_tower": {metric: PairedDifference}}``.
        per_user: as ``models``, every user counting once.

    Returns:
        What was written: ``{"models": {model: {metric: {"value", "low", "high", "requests"}}}, "data",
        "slices", "paired", "per_user", "versions"}``. NaN is written as ``null``, as JSON has no NaN.

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
            "models": models,
            "data": data or {},
            "slices": slices or {},
            "paired": paired or {},
            "per_user": per_user or {},
            "versions": versions(),
        }
    )
    atomic_write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return content


def versions() -> dict[str, str]:
    """The versions that a result depends on.

    Returns:
        ``interactrank``, ``torch``, ``torchrec``, ``fbgemm``, ``numpy`` (``"missing"`` where one is not
        installed), ``python`` and ``platform``.

    Example::

        >>> list(versions())
        ['interactrank', 'torch', 'torchrec', 'fbgemm', 'numpy', 'python', 'platform']
    """
    found = {name: _version(distributions) for name, distributions in _PACKAGES.items()}
    return found | {"python": platform.python_version(), "platform": platform.platform()}


def _version(distributions: Sequence[str]) -> str:
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "missing"


def _caption(models: ModelMetrics, names: Sequence[str], confidence: float) -> str:
    counts = sorted({m[name].requests for m in models.values() for name in names if name in m})
    if not counts:
        requests = "0"
    elif counts[0] == counts[-1]:
        requests = f"{counts[0]:,}"
    else:
        requests = f"{counts[0]:,} to {counts[-1]:,}"
    share = f"{100 * confidence:g} %"
    return f"{requests} requests · below each value its {share} bootstrap interval · best in bold"


def _cell(interval: Interval | None, best: bool, digits: int) -> Text:
    if interval is None or math.isnan(interval.value):
        return Text("-", style="dim")
    text = Text(f"{interval.value:.{digits}f}", style="bold green" if best else "")
    if not math.isnan(interval.low):
        text.append(
            f"\n{_short(interval.low, digits)}-{_short(interval.high, digits)}", style="not bold dim default"
        )
    return text


def _short(value: float, digits: int) -> str:
    """Fixed decimals without the leading zero."""
    return f"{value:.{digits}f}".removeprefix("0") if value >= 0 else f"{value:.{digits}f}"


def plain(value: Any) -> Any:
    """The value in JSON's own types, which have no NaN: it becomes None, as infinity does."""
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
