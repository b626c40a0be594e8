"""How cost grows with size: cost ~ size^exponent, a straight line on logarithms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks import report


class Line(NamedTuple):
    """One contestant of one series over all its sizes, in order of size."""

    series: str
    contestant: str
    sizes: list[float]
    rows: list[dict[str, Any]]


def lines(result: dict[str, Any], x_axis: str, series: str | None = None) -> Iterator[Line]:
    """The lines of a picture: every contestant, for each value of ``series``."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(result["results"], key=lambda r: r[x_axis]):
        found.setdefault((str(row[series]) if series else "", row["contestant"]), []).append(row)
    for (name, contestant), rows in found.items():
        yield Line(name, contestant, [float(row[x_axis]) for row in rows], rows)


def exponent(sizes: list[float], costs: list[float]) -> tuple[float, float]:
    """(exponent, R squared) of costs ~ size^exponent; R squared is NaN with fewer than three sizes."""
    x, y = np.log(sizes), np.log(costs)
    slope, start = np.polyfit(x, y, 1)
    if len(set(sizes)) < 3:
        return float(slope), float("nan")
    left, all_of = ((y - slope * x - start) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    return float(slope), float(1 - left / all_of) if all_of > 0 else 1.0


def table(result: dict[str, Any], x_axis: str, series: str | None = None) -> report.Table | None:
    """The exponent of every line with two sizes or more; None if there is no such line."""
    rows: list[list[Any]] = []
    for line in lines(result, x_axis, series):
        if len(set(line.sizes)) < 2:
            continue
        costs = [report.cost_ms(result, row) for row in line.rows]
        slope, fit = exponent(line.sizes, costs)
        each = [1e6 * cost / size for cost, size in zip(costs, line.sizes, strict=True)]
        row = [line.contestant, line.sizes[0], line.sizes[-1], each[0], each[-1], round(slope, 3)]
        rows.append([*([line.series] if series else []), *row, "" if np.isnan(fit) else round(fit, 3)])
    if not rows:
        return None
    x = x_axis.replace("_", " ")
    columns = ["contestant", f"{x} from", "to", "ns each from", "to", "exponent", "R squared"]
    return report.Table(
        title=f"Growth with {x}",
        columns=[*([series.replace("_", " ")] if series else []), *columns],
        rows=rows,
        note="cost ~ size^exponent: 1 is proportional, below 1 the fixed part still weighs, above 1 more "
        "work costs more than its share. Least squares through the logarithms of the medians.",
    )
