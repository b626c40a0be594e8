"""The report on the histories of a dataset, and its forms: console, JSON, Markdown, picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from interactrank.core.extras import MissingExtraError
from interactrank.core.files import atomic_write_text
from interactrank.core.markdown import markdown_table
from interactrank.core.output import ResultConsole
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.history.bots import CAPS, busiest_days, caps
from interactrank.evaluation.history.concentration import concentration
from interactrank.evaluation.history.coverage import coverage
from interactrank.evaluation.history.drift import drift
from interactrank.evaluation.history.engaged import opened
from interactrank.evaluation.history.plots import plot_history

__all__ = ["history_report", "markdown", "show", "write_report"]

logger = logging.getLogger(__name__)


class _Rows(NamedTuple):
    """A table of texts."""

    title: str
    header: list[str]
    rows: list[list[str]]


def history_report(
    dataset: PreparedDataset,
    *,
    head: str | None = None,
    user_cap: int | None = None,
    query_cap: int | None = None,
) -> dict[str, Any]:
    """Return what the histories of a dataset hold, for JSON.

    Args:
        dataset: what ``prepare`` wrote.
        head: whose positives are the engagements; the first when left out.
        user_cap, query_cap: a further cap on the events of a day, to be counted.

    Raises:
        DatasetError: the schema has no such head.
    """
    names = dataset.schema.head_names
    head = names[0] if head is None else head
    if head not in names:
        raise DatasetError(f"no head '{head}' in '{dataset.folder}'; it has: {', '.join(names)}")
    more = {"user": user_cap, "query": query_cap}
    with opened(dataset, head) as db:
        sizes = {who: [*CAPS, *([cap] if cap else [])] for who, cap in more.items()}
        return {
            "head": head,
            "requests": {split: int(n) for split, n in dataset.manifest["requests"].items()},
            "coverage": coverage(dataset),
            "concentration": concentration(db),
            "drift": drift(db),
            "caps": {who: caps(db, who, sizes[who]) for who in more},
            "busiest_days": {who: busiest_days(db, who) for who in more},
        }


def write_report(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``history.json``, ``history.md`` and, with matplotlib, ``history.png``; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "history.json", folder / "history.md"]
    atomic_write_text(written[0], json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    picture: Path | None = None
    try:
        picture = plot_history(report, folder / "history.png")
    except MissingExtraError as error:
        logger.warning("no picture: %s", error)
    atomic_write_text(written[1], markdown(report, picture is not None) + "\n")
    return written + ([] if picture is None else [picture])


def markdown(report: Mapping[str, Any], picture: bool = False) -> str:
    """Return the report as a page of Markdown without an end of line."""
    parts = ["# History"] + (["![coverage, concentration and drift](history.png)"] if picture else [])
    for table in _tables(report):
        rows = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
        parts += [f"## {table.title}", markdown_table(table.header, rows)]
    return "\n\n".join(parts)


def show(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the tables; ``console`` is standard output when left out."""
    console = console or ResultConsole()
    width = console.width
    try:
        console.width = max(width, 160)  # no number is cut
        for found in _tables(report):
            table = Table(title=found.title, box=box.SIMPLE, title_justify="left")
            for place, name in enumerate(found.header):
                table.add_column(name, justify="left" if place == 0 else "right")
            for row in found.rows:
                table.add_row(*map(escape, row))
            console.print(table)
    finally:
        console.width = width


def _tables(report: Mapping[str, Any]) -> Iterator[_Rows]:
    yield from _coverage(report["coverage"])
    spread = report["concentration"]
    yield _Rows(
        f"Concentration of engagements ({report['head']})",
        ["of", "distinct", "engagements", "top 1 %", "top 10 %", "Gini"],
        [
            [
                who,
                f"{c['distinct']:,}",
                f"{c['engagements']:,}",
                _percent(c["top_1"]),
                _percent(c["top_10"]),
                f"{c['gini']:.2f}",
            ]
            for who, c in spread.items()
        ],
    )
    yield from _drift(report["drift"])
    for who, found in report["caps"].items():
        yield from _caps(who, found, report["busiest_days"][who])


def _coverage(found: Mapping[str, Any]) -> Iterator[_Rows]:
    for split, of in found.items():
        rows = []
        for name, shares in of["features"].items():
            each = [shares["all"], shares["requests"], *shares["query"].values(), *shares["item"].values()]
            rows.append([name, *map(_percent, each)])
        some = next(iter(of["features"].values()), None)
        if some is not None:
            kinds = [*(f"{n} query" for n in some["query"]), *(f"{n} item" for n in some["item"])]
            title = f"Candidates with history: {split}, {of['candidates']:,} candidates"
            yield _Rows(title, ["feature", "all", "requests", *kinds], rows)


def _drift(found: Mapping[str, Any]) -> Iterator[_Rows]:
    unit = "week" if found["days"] == 7 else "day"
    periods = sorted({row["period"] for rows in found["overlap"].values() for row in rows})
    by_name = {name: {row["period"]: row for row in rows} for name, rows in found["overlap"].items()}
    rows = []
    for period in periods:
        cells = [by_name[name].get(period) for name in by_name]
        rows.append([str(period), *("-" if c is None else _number(c["overlap"]) for c in cells)])
    if rows:
        yield _Rows(f"Overlap of shares with the {unit} before (1: unchanged)", [unit, *by_name], rows)
    gains = [
        [g["query"], g["item"], _percent(g["share_before"]), _percent(g["share"]), f"{g['gain']:+,.0f}"]
        for g in found["gains"]
    ]
    if gains:
        yield _Rows(
            f"Top gains of the last {unit}", ["query", "item", "share before", "share", "gain"], gains
        )


def _caps(who: str, found: Sequence[Mapping[str, Any]], days: Sequence[Mapping[str, Any]]) -> Iterator[_Rows]:
    plural = {"user": "users", "query": "queries"}[who]
    if not found:
        return
    yield _Rows(
        f"What a cap on the events of a {who} and day would leave out",
        ["cap", plural, "days", "requests", "events", "engagements", "of events", "of engagements"],
        [
            [f"{row[c]:,}" for c in ("cap", "names", "days", "requests", "events", "engagements")]
            + [_percent(row["share_of_events"]), _percent(row["share_of_engagements"])]
            for row in found
        ],
    )
    yield _Rows(
        f"Busiest {plural}",
        [who, "day", "requests", "events", "engagements"],
        [
            [row["name"], row["day"], *(f"{row[c]:,}" for c in ("requests", "events", "engagements"))]
            for row in days
        ],
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
