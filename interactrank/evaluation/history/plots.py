"""The report on histories as a picture: coverage, concentration, drift.

Needs matplotlib (``pip install 'interactrank[report]'``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interactrank.core.plotting import MARKERS, PALETTE, new_figure, plot_style, save_figure, set_title

__all__ = ["plot_history"]


def plot_history(report: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Draw coverage by feature, the concentration of engagements, and the overlap of weeks.

    Args:
        report: of :func:`~interactrank.evaluation.history.report.history_report`.
        path: the PNG file, written whole or not at all.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    split = next(reversed(report["coverage"]), None)
    features = report["coverage"][split]["features"] if split else {}
    with plot_style():
        figure = new_figure(15.0, max(3.6, 0.34 * len(features) + 1.6))
        set_title(figure, "What the histories hold")
        left, middle, right = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
        _coverage(left, features, split)
        _concentration(middle, report["concentration"])
        _drift(right, report["drift"])
        return save_figure(figure, path)


def _coverage(axes: Any, features: Mapping[str, Any], split: str | None) -> None:
    rows = list(range(len(features)))
    marks = {"all": [f["all"] for f in features.values()]} | {
        f"{kind} queries": [f["query"][kind] for f in features.values()]
        for kind in ("head", "tail", "unseen")
    }
    for number, (label, values) in enumerate(marks.items()):
        known = [(v, y) for v, y in zip(values, rows, strict=True) if v is not None]
        if known:
            axes.scatter(
                *zip(*known, strict=True), label=label, color=PALETTE[number], marker=MARKERS[number]
            )
    axes.set_yticks(rows, list(features), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(f"candidates with history ({split})")
    axes.grid(True, axis="x")
    if features:
        axes.legend(loc="best", fontsize=8)


def _concentration(axes: Any, spread: Mapping[str, Any]) -> None:
    names = list(spread)
    for offset, (label, key) in enumerate((("top 1 %", "top_1"), ("top 10 %", "top_10"))):
        places = [y + 0.38 * offset - 0.19 for y in range(len(names))]
        axes.barh(places, [spread[n][key] for n in names], 0.36, label=label, color=PALETTE[offset])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title("share of all engagements")
    axes.grid(True, axis="x")
    axes.legend(loc="best", fontsize=8)


def _drift(axes: Any, drift: Mapping[str, Any]) -> None:
    unit = "week" if drift["days"] == 7 else "day"
    for number, (name, rows) in enumerate(drift["overlap"].items()):
        known = [(row["period"], row["overlap"]) for row in rows if row["overlap"] is not None]
        if known:
            x, y = zip(*known, strict=True)
            axes.plot(x, y, label=name, color=PALETTE[number], marker=MARKERS[number], markersize=4)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel(f"{unit}s before the last")
    axes.set_title(f"overlap with the {unit} before")
    axes.grid(True)
    if axes.lines:
        axes.legend(loc="best", fontsize=8)
