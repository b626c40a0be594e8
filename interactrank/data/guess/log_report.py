"""LogReport: what a schema makes of a log, before anything is built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.guess.leaks import leaks_in
from interactrank.data.guess.profile import TableProfile, profile
from interactrank.data.prepare.column_kinds import check_column_kinds
from interactrank.data.prepare.kept_log import named_columns
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import first_line, identity, number, quote
from interactrank.data.raw.staged_log import StagedLog, stage_log
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

__all__ = ["Leak", "LogReport", "report_log"]

TABLES = ("events", "items", "users")


@dataclass(frozen=True)
class Leak:
    """A column that tells alone which rows were engaged with.

    Args:
        column: file and column.
        auc: how well it parts engaged rows from others.
        used: whether a feature or a cross feature reads it.
    """

    column: str
    auc: float
    used: bool


@dataclass(frozen=True)
class LogReport:
    """What a log is, by a schema.

    Args:
        rows: table -> rows.
        first, last: times of the first and the last request, UTC.
        requests: split -> requests.
        candidates: smallest, median, mean and largest number of candidates of a request.
        engagements: engagement -> rows.
        shown: candidates that were impressions.
        positives_only: whether there are none.
        left_out: kind of row that is left out -> rows.
        several: user, query, time or split -> requests with rows of several.
        early: engagements before their request.
        unmatched: a line for each table that lacks ids.
        leaks: columns that look like leaks; none can be told from positives alone.
        unused: columns that the schema does not name, by table.
    """

    rows: dict[str, int]
    first: str
    last: str
    requests: dict[str, int]
    candidates: dict[str, float]
    engagements: dict[str, int]
    shown: int
    positives_only: bool
    left_out: dict[str, int]
    several: dict[str, int]
    early: int
    unmatched: list[str]
    leaks: list[Leak]
    unused: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for a file."""
        return asdict(self)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield a name and a text for each line of a table."""
        for table, n in self.rows.items():
            yield f"rows of {table}", f"{n:,}"
        yield "time", f"{self.first} to {self.last} (UTC)"
        yield "requests", ", ".join(f"{n:,} {split}" for split, n in self.requests.items())
        c = self.candidates
        yield (
            "candidates a request",
            "{min:,.0f} to {max:,.0f}, median {median:,.0f}, mean {mean:,.1f}".format(**c),
        )
        yield "engagements", ", ".join(f"{n:,} {name}" for name, n in self.engagements.items())
        if self.positives_only:
            yield (
                "impressions",
                "none, positives only: set loader.negatives and evaluation.candidates: catalogue",
            )
        else:
            yield "impressions", f"{self.shown:,} candidates were shown"
        total = max(self.rows["events"], 1)
        for kind, n in self.left_out.items():
            yield "left out", f"{n:,} rows ({n / total:.2%}): {kind}"
        for what, n in self.several.items():
            yield "not whole", f"{n:,} requests have rows of more than one {what}"
        if self.early:
            yield "early", f"{self.early:,} engagements have a time before their request"
        for line in self.unmatched:
            yield "not joined", line
        for leak in self.leaks:
            use = "the schema reads it" if leak.used else "not used"
            yield "leak?", f"{leak.column} alone tells engagements, AUC {leak.auc:.3f} ({use})"
        for table, columns in self.unused.items():
            yield f"not used of {table}", ", ".join(columns)


def report_log(log: str | os.PathLike[str], schema: SearchSchema, settings: PrepareSettings) -> LogReport:
    """Read a log as ``prepare`` does, build nothing, and return what was found.

    Raises:
        DatasetError: the log cannot be prepared.
    """
    place = Place.of(log)
    check_column_kinds(log, schema)
    try:
        with TemporaryDirectory(prefix="interactrank-check-") as work:
            staged = stage_log(log, schema, settings, Path(work))
            try:
                facts = _facts(staged, schema)
            finally:
                staged.db.close()
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            names = TABLES if schema.users else TABLES[:2]
            tables = {name: profile(db, place, name) for name in names}
            found = [] if facts["positives_only"] else _leaks(db, tables, schema)
    except duckdb.Error as error:
        raise DatasetError(f"'{place.name}': {first_line(error)}") from None
    unused = {
        name: [c for c in table.columns if c not in named_columns(schema, name)]
        for name, table in tables.items()
    }
    facts["rows"] |= {name: table.rows for name, table in tables.items()}
    return LogReport(
        **facts, leaks=found, unused={name: columns for name, columns in unused.items() if columns}
    )


def _facts(log: StagedLog, schema: SearchSchema) -> dict[str, Any]:
    """Return what the staged tables tell."""
    first, last = log.db.execute(
        "SELECT min(make_timestamp(time * 1000)), max(make_timestamp(time * 1000)) FROM requests"
    ).fetchone()
    splits = log.db.execute(
        "SELECT split, count(*) FROM requests GROUP BY 1 ORDER BY min(time), 1"
    ).fetchall()
    sizes = log.db.execute(
        """SELECT min(n), median(n), avg(n), max(n)
        FROM (SELECT count(*) AS n FROM candidates GROUP BY request)"""
    ).fetchone()
    counts = ", ".join(f"count(*) FILTER ({quote(f'e_{name}')})" for name in schema.events.engagements)
    shown, *engaged = log.db.execute(f"SELECT count(*) FILTER (shown), {counts} FROM candidates").fetchone()
    left_out = dict(log.events.malformed)
    if log.events.unengaged:
        left_out["no engagement, and the log has no impressions"] = log.events.unengaged
    left_out |= {f"prepare.{cap}": n for cap, n in log.capped.items()}
    e, unknown = schema.events, (log.events.unknown_items, log.unknown_users)
    lines = [
        found.remark(str(column), table)
        for found, column, table in zip(unknown, (e.item, e.user), ("items", "users"), strict=True)
        if found is not None
    ]
    return {
        "rows": {},
        "first": first.isoformat(sep=" ", timespec="seconds"),
        "last": last.isoformat(sep=" ", timespec="seconds"),
        "requests": dict(splits),
        "candidates": dict(zip(("min", "median", "mean", "max"), map(float, sizes), strict=True)),
        "engagements": dict(zip(schema.events.engagements, map(int, engaged), strict=True)),
        "shown": int(shown),
        "positives_only": not shown,
        "left_out": left_out,
        "several": log.mixed,
        "early": log.events.early,
        "unmatched": lines,
    }


def _leaks(
    db: duckdb.DuckDBPyConnection, tables: dict[str, TableProfile], schema: SearchSchema
) -> list[Leak]:
    """Return the columns of events and items that tell alone what was engaged with."""
    e = schema.events
    types = tables["events"].table.types
    engaged = " OR ".join(f"coalesce({number(c, types[c])}, 0) > 0" for c in e.engagements.values())
    roles = {
        *(e.item, e.query, e.time, e.user, e.request, e.session, e.event_time, e.split),
        *(e.position, e.impression_column, e.true_probability),
        *e.engagements.values(),
    }
    found = []
    for name in ("events", "items"):
        used = set(named_columns(schema, name))
        wanted = {
            n: c.holds
            for n, c in tables[name].columns.items()
            if (c.holds in ("numbers", "times") or (c.holds == "text" and c.distinct <= 100))
            and n not in (roles if name == "events" else {schema.items.id})
        }
        item = identity(e.item, types[e.item])
        rows = f"(SELECT *, ({engaged}) AS engaged__, {item} AS item__ FROM events) events"
        if name == "items":
            key = identity(schema.items.id, tables["items"].table.types[schema.items.id])
            rows += f" JOIN (SELECT *, {key} AS key__ FROM items) items ON item__ = key__"
        columns = {f"{name}.{c}": (f"{name}.{quote(c)}", holds) for c, holds in wanted.items()}
        areas = leaks_in(db, rows, "engaged__", columns)
        found += [Leak(c, round(a, 4), c.partition(".")[2] in used) for c, a in areas.items()]
    return found
