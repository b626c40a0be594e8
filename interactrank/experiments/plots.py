"""The report of an ablation as a picture: the metric of each model, and what each part changes.

Needs matplotlib (``pip install 'interactrank[report]'``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interactrank.core.plotting import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MUTED,
    RED,
    new_figure,
    plot_style,
    save_figure,
    set_title,
)
from interactrank.experiments.findings import LEVEL
from interactrank.experiments.page import GROUPS, step
from interactrank.experiments.variants import FULL

__all__ = ["plot_ablation"]

_GAP = 1.1  # rows between two groups


def plot_ablation(report: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Draw a row for each model: its metric with interval and seeds, and the change against the one before.

    Args:
        report: of :func:`ablation_report`.
        path: the PNG file, written whole or not at all.

    Returns:
        ``path``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    metric, models = report["settings"]["metric"], report["models"]
    rows, heads, bottom = _places(models)
    with plot_style():
        figure = new_figure(11.0, 1.5 + 0.36 * bottom)
        set_title(figure, f"Ablation: what each part adds to {metric}")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1])
        for name, model in models.items():
            _model(left, model, rows[name], metric)
            against, found = step(report, name)
            if found is None or found["low"] is None:
                continue
            if models[against]["group"] == "baseline":  # as a bar it would dwarf the others
                text = f"{found['difference']:+.3f} against {models[against]['label']}"
                right.annotate(
                    text, (0, rows[name]), (6, 0), "data", "offset points", va="center", fontsize=8
                )
            else:
                _change(right, found, rows[name])
        full = models[FULL]["metrics"][metric]["value"] if FULL in rows else None
        if full is not None:
            left.plot([full, full], [rows[FULL], bottom], color=BLUE, linestyle="--", linewidth=0.8, zorder=0)
        if (optimum := report["optimum"].get(metric)) is not None:
            left.axvline(optimum, color=INK, linestyle=":", linewidth=1)
            left.annotate(
                "best possible", (optimum, 1), (-4, -2), ("data", "axes fraction"), "offset points",
                rotation=90, ha="right", va="top", fontsize=8, color=MUTED,
            )  # fmt: skip
        right.axvline(0, color=INK, linewidth=1)
        for text, y in heads:
            left.annotate(
                text, (0, y), (6, 0), ("axes fraction", "data"), "offset points",
                va="center", fontsize=8.5, style="italic", color=MUTED,
            )  # fmt: skip
        left.set_yticks([rows[name] for name in models], [_label(m["label"]) for m in models.values()])
        left.set_ylim(bottom - 0.2, -1.15)
        for axes in (left, right):
            axes.tick_params(axis="y", length=0, labelcolor=INK)
            axes.grid(True, axis="x")
            axes.spines["left"].set_visible(False)
            axes.margins(x=0.06)
        requests = f"{report['data']['ranked']:,} {report['data']['split']} requests"
        left.set_xlabel(f"{metric} of {requests}, 95 % interval\nmean over seeds; open dots: each seed")
        right.set_xlabel(f"change against the row above, or against full\ngrey: p ≥ {LEVEL:g} after Holm")
        right.set_xlim(*_room(right.get_xlim()))
        right.locator_params(axis="x", nbins=6)
        return save_figure(figure, path)


def _places(models: Mapping[str, Any]) -> tuple[dict[str, float], list[tuple[str, float]], float]:
    """(model -> row, (group's name, its row), first row below), from the top."""
    rows: dict[str, float] = {}
    heads: list[tuple[str, float]] = []
    y, group = -_GAP, None
    for name, model in models.items():
        if model["group"] != group:
            group = model["group"]
            y += _GAP
            heads.append((GROUPS[group], y - 0.85))
        rows[name] = y
        y += 1
    return rows, heads, y


def _model(axes: Any, model: Mapping[str, Any], y: float, metric: str) -> None:
    found = model["metrics"][metric]
    if found["value"] is None:
        return
    colour = {"baseline": GREY, "incremental": BLUE}.get(model["group"], INK)
    if found["low"] is not None:
        axes.plot(
            [found["low"], found["high"]],
            [y, y],
            color=colour,
            linewidth=3,
            alpha=0.45,
            solid_capstyle="round",
        )
    seeds = [seed[metric] for seed in model["seeds"].values()]
    if len(seeds) > 1:
        axes.plot(seeds, [y + 0.24] * len(seeds), "o", markersize=3.2, markerfacecolor="none", color=colour)
    axes.plot([found["value"]], [y], "o", markersize=6.5, color=colour)
    axes.annotate(
        f"{found['value']:.3f}", (found["value"], y), (0, 6), "data", "offset points",
        ha="center", fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
    )  # fmt: skip


def _change(axes: Any, found: Mapping[str, Any], y: float) -> None:
    shown = found["p_holm"] < LEVEL
    colour = GREEN if found["difference"] > 0 else RED
    colour, alpha = (colour, 1.0) if shown else (GREY, 0.6)
    axes.barh(y, found["difference"], height=0.5, color=colour, alpha=0.55 * alpha)
    axes.plot(
        [found["low"], found["high"]], [y, y], color=colour if shown else MUTED, linewidth=1.6, alpha=alpha
    )
    outside = found["high"] if found["difference"] > 0 else found["low"]
    side = 1 if found["difference"] > 0 else -1
    axes.annotate(
        f"{round(found['difference'], 3) + 0.0:+.3f}", (outside, y), (5 * side, 0), "data", "offset points",
        ha="left" if side > 0 else "right", va="center", fontsize=8, color=INK if shown else MUTED,
    )  # fmt: skip


def _room(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits with room for a number beyond each bar."""
    low, high = limits
    return low - 0.1 * (high - low), high + 0.1 * (high - low)


def _label(text: str) -> str:
    """In two lines where it is long."""
    head, bracket, rest = text.partition(" (")
    return f"{head}\n({rest}" if bracket and len(text) > 32 else text
