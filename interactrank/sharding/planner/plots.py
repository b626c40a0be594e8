"""A plan's balance as a picture: bars of memory and of time of every rank.

Needs matplotlib (``pip install 'interactrank[report]'``).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from interactrank.core.extras import require
from interactrank.core.plotting import (
    BLUE,
    GREEN,
    INK,
    LIGHT_BLUE,
    ORANGE,
    RED,
    new_figure,
    plot_style,
    save_figure,
    set_title,
)
from interactrank.sharding.planner.report import PARTS, PlanReport

__all__ = ["plot_plan"]

_COLOURS = (BLUE, LIGHT_BLUE, RED, ORANGE, GREEN)
_NAMES = ("forward compute", "forward comms", "backward compute", "backward comms", "cache filling")


def plot_plan(report: PlanReport, path: str | os.PathLike[str]) -> Path:
    """Draws memory (above) and expected time of a step by part (below) over the ranks.

    Args:
        report: what the plan costs.
        path: the PNG file, written whole or not at all.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    # One shape for all bars of a part: a bar for each of 1,024 ranks and each part would take minutes.
    edges = np.arange(report.cluster.ranks + 1) - 0.5
    hbm, ddr = report.usable
    with plot_style():
        figure = new_figure(9, 6)
        set_title(figure, f"Plan for {report.cluster}")
        memory, time = figure.subplots(2, 1, sharex=True)
        bottom = np.zeros(report.cluster.ranks)
        for name, used, colour in (("HBM", report.hbm, _COLOURS[0]), ("DDR", report.ddr, _COLOURS[3])):
            if used.any():
                top = bottom + used / 2**30
                memory.stairs(top, edges, baseline=bottom, fill=True, color=colour, label=name)
                bottom = top
        limit = hbm if report.cluster.memory == "hbm" else ddr
        memory.axhline(limit / 2**30, color=INK, linestyle=":", label="limit for tables")
        memory.set_ylabel("memory of tables, GiB")
        bottom = np.zeros(report.cluster.ranks)
        for i, name in enumerate(_NAMES[: len(PARTS)]):
            if report.ms[:, i].any():
                top = bottom + report.ms[:, i]
                time.stairs(top, edges, baseline=bottom, fill=True, color=_COLOURS[i], label=name)
                bottom = top
        time.set_ylabel("time of a step, ms (estimated)")
        time.set_xlabel("rank")
        time.xaxis.set_major_locator(require("matplotlib.ticker", "report").MaxNLocator(12, integer=True))
        for axes in (memory, time):
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
            axes.grid(True, axis="y")
        return save_figure(figure, path, dpi=120)
