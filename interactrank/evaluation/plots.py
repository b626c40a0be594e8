"""Plots of a report as PNG files: training curves, and models compared with their intervals.

Needs matplotlib (``pip install 'interactrank[report]'``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.core.plotting import INK, MARKERS, PALETTE, new_figure, plot_style, save_figure, set_title
from interactrank.evaluation.metrics.registry import shown_name
from interactrank.evaluation.stats.bootstrap import Interval

__all__ = ["has_value", "plot_comparison", "plot_training_curves"]


def plot_training_curves(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    losses: Sequence[str] = ("loss",),
    metrics: Sequence[str] = (),
    x: str = "step",
    title: str = "Training",
) -> Path:
    """Draw loss on the left, metrics on the right, over the steps of training.

    A loss with more than 50 points is drawn faintly, with a moving average over it.

    Args:
        rows: what training logged, such as ``{"step": 100, "loss": 0.31}``; a row need not have every column,
            as evaluation happens more rarely. A value that is None or not finite leaves a gap.
        path: the PNG file, written whole or not at all.
        losses: columns of the left panel.
        metrics: columns of the right panel; without any there is one panel.
        x: the column of steps.
        title: above the figure.

    Returns:
        ``path``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no row has a value of a column named.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = [{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.5}]
        ...     plot_training_curves(rows, folder + "/curves.png").read_bytes()[1:4]
        b'PNG'
    """
    panels = [("loss", list(losses))] + ([("metric on held-out requests", list(metrics))] if metrics else [])
    curves = {name: _curve(rows, x, name) for _, names in panels for name in names}
    with plot_style():
        figure = new_figure(5.2 * len(panels), 3.6)
        set_title(figure, title)
        for place, (label, names) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1)
            for number, name in enumerate(names):
                _draw_curve(axes, name, curves[name], number, place, smooth=label == "loss")
            axes.set_xlabel(f"training {x}")
            axes.set_ylabel(label)
            axes.grid(True)
            axes.margins(x=0.02)
            axes.xaxis.set_major_locator(require("matplotlib.ticker", "report").MaxNLocator(6, integer=True))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.legend(loc="best")
        return save_figure(figure, path)


def _draw_curve(
    axes: Any, name: str, curve: tuple[list[float], list[float]], number: int, panel: int, *, smooth: bool
) -> None:
    steps, values = curve
    colour = PALETTE[(number + panel) % len(PALETTE)]
    few = len(steps) <= 50
    if smooth and not few:
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        values = _smooth(values)
    marker = MARKERS[number % len(MARKERS)] if few else None
    axes.plot(steps, values, color=colour, linewidth=1.8, marker=marker, markersize=4, label=name)


def plot_comparison(
    models: Mapping[str, Mapping[str, Interval]],
    path: str | os.PathLike[str],
    *,
    metrics: Sequence[str] | None = None,
    ceilings: Mapping[str, float] | None = None,
    title: str = "Models compared",
    confidence: float = 0.95,
) -> Path:
    """Draw every metric of every model as a point with its interval, a row per metric.

    Args:
        models: ``{model: {metric: Interval}}``; a model may lack a metric.
        path: the PNG file, written whole or not at all.
        metrics: the rows, from the top; those of the first model when left out. They share one axis, so
            choose metrics of one range, as all in [0, 1] are.
        ceilings: ``{metric: value}`` that no ranker can pass, drawn as a line across its row.
        title: above the figure.
        confidence: of the intervals, named under the axis.

    Returns:
        ``path``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: there is nothing to draw.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     models = {"bm25": {"mrr": Interval(0.6, 0.59, 0.61, 4906)}}
        ...     plot_comparison(models, folder + "/models.png").name
        'models.png'
    """
    names = list(metrics) if metrics is not None else list(next(iter(models.values()), {}))
    ceilings = {name: value for name, value in (ceilings or {}).items() if name in names}
    drawn = {
        model: [(row, values[name]) for row, name in enumerate(names) if has_value(values.get(name))]
        for model, values in models.items()
    }
    if not any(drawn.values()):
        raise ValueError(f"no model has a value of {', '.join(names) or 'any metric'}; nothing to draw")
    with plot_style():
        figure = new_figure(8.0, 1.7 + len(names) * max(0.55, 0.2 * len(models)))
        set_title(figure, title)
        axes = figure.add_subplot()
        for row in range(1, len(names), 2):
            axes.axhspan(row - 0.5, row + 0.5, color="#f6f6f6", linewidth=0, zorder=0)
        for number, (model, points) in enumerate(drawn.items()):
            _draw_model(axes, model, points, number, len(models))
        for number, (name, value) in enumerate(ceilings.items()):
            at = names.index(name)
            label = None if number else "best possible"
            axes.plot([value, value], [at - 0.42, at + 0.42], color=INK, linestyle=":", label=label)
        axes.set_yticks(range(len(names)), [shown_name(name) for name in names])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(True, axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"mean over {_counts(drawn)} requests, with {100 * confidence:g} % interval")
        entries = len(models) + bool(ceilings)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(entries, 4), borderaxespad=0.2)
        return save_figure(figure, path)


def _draw_model(axes: Any, model: str, points: list[tuple[int, Interval]], number: int, models: int) -> None:
    """Return a point and its interval in each row, models one below the other within a row."""
    gap = min(0.22, 0.7 / models)
    offset = (number - (models - 1) / 2) * gap
    colour = PALETTE[number % len(PALETTE)]
    rows = [row + offset for row, _ in points]
    for y, (_, interval) in zip(rows, points, strict=True):
        if not math.isnan(interval.low):
            axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=2.2, alpha=0.55)
    axes.plot(
        [interval.value for _, interval in points],
        rows,
        linestyle="none",
        marker=MARKERS[number % len(MARKERS)],
        markersize=6,
        color=colour,
        label=model,
    )


def _counts(drawn: Mapping[str, list[tuple[int, Interval]]]) -> str:
    """How many requests the values are means over, as a number or a range."""
    requests = sorted({interval.requests for points in drawn.values() for _, interval in points})
    return f"{requests[0]:,}" if len(requests) == 1 else f"{requests[0]:,} to {requests[-1]:,}"


def _curve(rows: Sequence[Mapping[str, Any]], x: str, name: str) -> tuple[list[float], list[float]]:
    points = [(float(row[x]), float(row[name])) for row in rows if row.get(name) is not None]
    if not points:
        columns = sorted({column for row in rows for column in row} - {x})
        raise ValueError(f"no row has a value of {name!r}; the rows have {', '.join(columns) or 'no column'}")
    return [step for step, _ in points], [value for _, value in points]


def _smooth(values: Sequence[float]) -> list[float]:
    """Return means over a tenth of the curve around each point, of finite values, narrower at its start."""
    smooth = []
    for i in range(len(values)):
        half = min(max(2, len(values) // 20), i)
        near = [value for value in values[i - half : i + half + 1] if math.isfinite(value)]
        smooth.append(sum(near) / len(near) if near else math.nan)
    return smooth


def has_value(interval: Interval | None) -> bool:
    """Return whether there is a value to draw."""
    return interval is not None and not math.isnan(interval.value)
