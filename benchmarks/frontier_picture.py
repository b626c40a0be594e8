"""The frontier as a picture: quality with its interval against microseconds a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.core.plotting import GREY, MARKERS, PALETTE, new_figure, plot_style, save_figure, set_title
from interactrank.evaluation.metrics import shown_name

__all__ = ["plot"]


def plot(rows: Sequence[Sequence[Any]], path: Path, metric: str, name: str) -> Path:
    """Draw the rows of a frontier table.

    Args:
        rows: model, quality, its interval, microseconds a candidate p50 and p90, ..., on the frontier; the
            cheapest first.
        path: of the PNG file.
        metric: that quality is.
        name: of the log.
    """
    with plot_style():
        figure = new_figure(8.0, 4.6)
        set_title(figure, f"{name}: {shown_name(metric)} against the cost of a candidate")
        axes = figure.add_subplot()
        edge = [row for row in rows if row[-1]]
        axes.step(
            [row[4] for row in edge],
            [row[1] for row in edge],
            where="post",
            color=GREY,
            linewidth=1.2,
            linestyle="--",
            label="frontier",
        )
        for number, row in enumerate(rows):
            model, value, low, high, middle, slow = row[:6]
            colour = PALETTE[number % len(PALETTE)]
            if low is not None:
                axes.plot([middle, middle], [low, high], color=colour, linewidth=2.2, alpha=0.55)
            axes.plot([middle, slow], [value, value], color=colour, linewidth=1.2, alpha=0.55)
            marker = MARKERS[number % len(MARKERS)]
            axes.plot([middle], [value], marker, markersize=7, color=colour, label=model)
        axes.set(
            xscale="log",
            xlabel="us a candidate on one thread: p50, whisker to p90",
            ylabel=shown_name(metric),
        )
        ticks = require("matplotlib.ticker", "report")
        axes.xaxis.set_major_locator(ticks.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(ticks.NullFormatter())
        axes.grid(True, alpha=0.6)
        axes.margins(x=0.12, y=0.1)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        return save_figure(figure, path)
