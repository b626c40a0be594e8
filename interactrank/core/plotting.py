"""One style for all pictures: palette, markers, spines, and figures on the Agg canvas.

Needs matplotlib (``pip install 'interactrank[report]'``). Figures are drawn on a canvas of their own: no
display, no global state of pyplot. The colours are those of Okabe and Ito, which colour-blind readers can
tell apart.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.core.files import atomic_write

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "GRID",
    "INK",
    "LIGHT_BLUE",
    "MARKERS",
    "MUTED",
    "ORANGE",
    "PALETTE",
    "PINK",
    "RED",
    "new_figure",
    "plot_style",
    "save_figure",
    "set_title",
]

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
LIGHT_BLUE, RED = "#56B4E9", "#D55E00"
INK, MUTED, GREY, GRID = "#222222", "#6b6b6b", "#9a9a9a", "#e6e6e6"
PALETTE = (BLUE, ORANGE, GREEN, PINK, LIGHT_BLUE, RED, "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")

_STYLE = {
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def plot_style() -> AbstractContextManager[Any]:
    """Return a context in which matplotlib draws in the house style.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    context: AbstractContextManager[Any] = require("matplotlib", "report").rc_context(_STYLE)
    return context


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure on the Agg canvas, laid out so that nothing overlaps.

    Args:
        width: in inches.
        height: in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.

    Example::

        >>> new_figure(8.0, 4.0).get_size_inches().tolist()
        [8.0, 4.0]
    """
    figure = require("matplotlib.figure", "report").Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    require("matplotlib.backends.backend_agg", "report").FigureCanvasAgg(figure)
    return figure


def set_title(figure: Any, title: str) -> None:
    """Write a bold title above the figure, on the left."""
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")


def save_figure(figure: Any, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Write a PNG file whole or not at all.

    Args:
        figure: of :func:`new_figure`.
        path: the file; missing parent folders are made.
        dpi: pixels an inch.

    Returns:
        ``path``.
    """
    return atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=dpi))
