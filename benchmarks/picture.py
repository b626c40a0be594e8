"""A result as a picture: cost against size, or bars of each contestant's speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import growth
from interactrank.core.plotting import BLUE, GREY, PALETTE, RED, new_figure, plot_style, save_figure


def plot(result: dict[str, Any], path: Path, x_axis: str | None = None, series: str | None = None) -> None:
    """Draw a result with rounds of contestants.

    Args:
        result: as of the harness.
        path: of the PNG file.
        x_axis: setting of the groups that cost is drawn against, on logarithmic axes; None for bars.
        series: another setting, with a line for each of its values.
    """
    rows = result["results"]
    with plot_style():
        figure = new_figure(9, 5 if x_axis else 1.5 + 0.3 * len(rows))
        axes = figure.add_subplot()
        if x_axis:
            _lines(axes, result, x_axis, series)
        else:
            _bars(axes, rows)
        axes.set_title(f"{result['benchmark']}, {result['hardware']['name']}, {result['date']}")
        save_figure(figure, path, dpi=80)


def _lines(axes: Any, result: dict[str, Any], x_axis: str, series: str | None) -> None:
    """Milliseconds against size; the legend gives the slope, a grey line the slope 1."""
    styles = ("-", "--", ":", "-.")
    kinds = list(dict.fromkeys(line.series for line in growth.lines(result, x_axis, series)))
    names = list(dict.fromkeys(row["contestant"] for row in result["results"]))
    sizes = sorted({float(row[x_axis]) for row in result["results"]})
    costs = [row["cpu_runtime_p50_ms"] for row in result["results"]]
    if len(sizes) > 1:
        proportional = [min(costs) * size / sizes[0] for size in sizes]
        axes.plot(sizes, proportional, color=GREY, linewidth=1, label="slope 1")
    for line in growth.lines(result, x_axis, series):
        low, middle, high = ([row[f"cpu_runtime_p{p}_ms"] for row in line.rows] for p in (10, 50, 90))
        label = f"{line.series}: {line.contestant}" if series else line.contestant
        if len(set(line.sizes)) > 1:
            label += f"  ({growth.exponent(line.sizes, middle)[0]:.2f})"
        color = PALETTE[names.index(line.contestant) % len(PALETTE)]
        style = styles[kinds.index(line.series) % len(styles)]
        axes.plot(line.sizes, middle, style, marker="o", markersize=4, color=color, label=label)
        axes.fill_between(line.sizes, low, high, alpha=0.15, color=color)
    axes.set(xscale="log", yscale="log", xlabel=x_axis.replace("_", " "), ylabel="ms (p50, p10 to p90)")
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    axes.legend(fontsize=8, title="slope in brackets", loc="center left", bbox_to_anchor=(1.01, 0.5))


def _bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    names = [r["short_name"] for r in rows]
    middle = [r.get("ratio_p50", 1.0) for r in rows]
    sides = [
        [m - r.get("ratio_p10", 1.0) for m, r in zip(middle, rows, strict=True)],
        [r.get("ratio_p90", 1.0) - m for m, r in zip(middle, rows, strict=True)],
    ]
    axes.barh(names, middle, xerr=sides, color=[GREY if "ratio_to" not in r else BLUE for r in rows])
    for place, row in enumerate(rows):
        if "target" in row:
            axes.plot([row["target"]] * 2, [place - 0.4, place + 0.4], color=RED)
    axes.invert_yaxis()
    axes.set(xlabel="times as fast as the group's baseline (p50, p10 to p90; red: target)")
