"""The closed loop as a picture: engagement by day and arm, and lifts.

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
    GRID,
    INK,
    LIGHT_BLUE,
    MUTED,
    ORANGE,
    PINK,
    new_figure,
    plot_style,
    save_figure,
    set_title,
)

__all__ = ["plot_loop"]

_COLOURS = (GREY, ORANGE, BLUE, GREEN, PINK, LIGHT_BLUE)
_LINES = {"optimum": ("--", INK), "chance": (":", INK), "retrieval": ("-.", MUTED)}
_ESTIMATES = (
    ("all_users", "all searches", -0.12, BLUE),
    ("own_users", "the arm's own users", 0.12, ORANGE),
)


def plot_loop(report: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Draw the expected engagements of all searches by day, and the lifts by both estimates.

    Args:
        report: of the loop.
        path: the PNG file, written whole or not at all.

    Returns:
        ``path``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with plot_style():
        figure = new_figure(12.0, 4.8)
        set_title(figure, "Engagements per request in the closed loop")
        left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
        _days(left, report["days"])
        titles = {n: of["title"] for n, of in report["engagements_per_request"]["of"].items()}
        _lifts(right, report["lifts"], titles)
        return save_figure(figure, path)


def _days(axes: Any, days: list[Mapping[str, Any]]) -> None:
    names = list(days[0]["of"])
    at = list(range(1, len(days) + 1))
    arms = [name for name in names if name not in _LINES]
    for number, name in enumerate(arms):
        found = [day["of"][name]["all_users"] for day in days]
        shift = (number - (len(arms) - 1) / 2) * 0.1
        low = [of["value"] - of["low"] for of in found]
        high = [of["high"] - of["value"] for of in found]
        axes.errorbar(
            [x + shift for x in at],
            [of["value"] for of in found],
            yerr=[low, high],
            color=_COLOURS[number % len(_COLOURS)],
            label=days[0]["of"][name]["title"],
            marker="o",
            markersize=4,
            linewidth=1.4,
            elinewidth=0.8,
        )
    for name, (style, colour) in _LINES.items():
        values = [day["of"][name]["all_users"]["value"] for day in days]
        axes.plot(at, values, linestyle=style, color=colour, label=days[0]["of"][name]["title"], linewidth=1)
    axes.set_title("had all users seen the arm's lists")
    axes.set_xlabel("day")
    axes.set_xticks(at)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=GRID)
    axes.legend(fontsize=8, ncols=2, loc="lower left")


def _lifts(axes: Any, lifts: list[Mapping[str, Any]], titles: Mapping[str, str]) -> None:
    for row, lift in enumerate(lifts):
        for key, name, shift, colour in _ESTIMATES:
            if lift[key] is None:
                continue
            of = {side: 100 * value for side, value in lift[key].items()}
            axes.errorbar(
                of["value"],
                row + shift,
                xerr=[[of["value"] - of["low"]], [of["high"] - of["value"]]],
                color=colour,
                marker="o",
                markersize=4,
                label=None if row else name,
            )
        if lift["paper"] is not None:
            axes.plot(100 * lift["paper"], row, "x", color=INK, label="the paper's" if row == 1 else None)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    names = [f"{titles[lift['arm']]}\nover {titles[lift['over']]}" for lift in lifts]
    axes.set_yticks(range(len(lifts)), names, fontsize=8)
    axes.set_ylim(len(lifts) - 0.5, -0.5)  # the first one is above
    axes.set_xlabel("more engagements, %")
    axes.set_title("lift")
    axes.legend(fontsize=8, loc="lower right")
