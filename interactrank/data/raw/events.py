"""The staged table ``parsed``; dropped when ``requests`` and ``candidates`` are made of it.

One row an event of the log, in any order:

    row               BIGINT      its number, which ascends in the order of the log
    item              INTEGER     rowid in ``items``; NULL if it is not there
    query             VARCHAR     without blanks around it
    time              BIGINT      milliseconds since 1970 of the request
    user              VARCHAR     NULL without events.user
    request_id        VARCHAR     NULL without events.request
    session           VARCHAR     NULL without events.session
    split             VARCHAR     in lower case; NULL without events.split
    position          DOUBLE      NULL without events.position
    true_probability  DOUBLE      NULL without events.true_probability
    event_time        BIGINT      milliseconds since 1970 of the engagement; NULL if it is not known
    shown             BOOLEAN     whether the row is an impression
    e_*               BOOLEAN     whether each engagement happened: its count is above 0
    k_*               DOUBLE or VARCHAR  each candidate feature; NULL where it is not known
    c_*               as in file  the columns that request features and segments need
    unknown_item      VARCHAR     the item's id if it is not in ``items``
    malformed         VARCHAR     the first thing that is wrong with the row; NULL if nothing is
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.raw.joins import Unmatched, unmatched
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import identity, literal, number, quote, text
from interactrank.data.raw.staged_columns import candidate_column, engagement, event_columns, request_column
from interactrank.data.raw.table import RawTable
from interactrank.data.raw.time_units import as_milliseconds, time_unit
from interactrank.schema import EventColumns, SearchSchema

__all__ = [
    "EventCounts",
    "ParsedCounts",
    "columns_with_a_role",
    "count_parsed",
    "is_candidate",
    "judge_counts",
    "stage_events",
    "stage_parsed",
    "units_of_times",
    "unknown_and_known_items",
]

NOT_IN_ITEMS = " not in items"
NOT_BLANK = r"[^\s\p{Z}\p{C}]"


class EventCounts(NamedTuple):
    """Rows of the events files.

    Args:
        rows: all of them.
        malformed: kind of malformed row -> how many of them are left out.
        unengaged: rows left out because the log has no impressions and nothing happened in them.
        early: engagements whose event_time is before their request; they count from the request on.
        unknown_items: items of the rows that ``items`` does not have; None if it has all.
    """

    rows: int
    malformed: dict[str, int]
    unengaged: int
    early: int = 0
    unknown_items: Unmatched | None = None


class ParsedCounts(NamedTuple):
    """Counts of rows of ``parsed``, which add up over files.

    Args:
        kinds: kind of malformed row -> rows; those of the empty kind are well-formed.
        engaged: well-formed rows in which anything happened.
        timed, early: those that say when, and those that say a time before their request.
    """

    kinds: dict[str, int]
    engaged: int
    timed: int
    early: int


def stage_events(
    db: duckdb.DuckDBPyConnection, log: Place, schema: SearchSchema, *, strict: bool
) -> EventCounts:
    """Make the table.

    Args:
        db: has the table ``items``.
        log: the log's folder.
        schema: says what its columns mean.
        strict: refuse malformed rows.

    Raises:
        DatasetError: no row can be used, none has an engagement, most engagements are before their requests,
            or one is malformed and ``strict`` is set.
    """
    e = schema.events
    candidate = [f.column for f in schema.features.candidate]
    table = RawTable.open(db, log, "events", [*columns_with_a_role(e), *event_columns(schema), *candidate])
    stage_parsed(db, table, schema)
    counts = judge_counts(count_parsed(db, schema), table.first, schema, strict=strict)
    return counts._replace(unknown_items=_unknown_items(db, counts))


def units_of_times(
    db: duckdb.DuckDBPyConnection, table: RawTable, schema: SearchSchema
) -> dict[str, str | None]:
    """Return the unit of each time column; None for one that holds no numbers.

    Raises:
        DatasetError: the unit of a time column cannot be told.
    """
    e = schema.events
    return {c: e.time_unit or time_unit(db, table, c) for c in (e.time, e.event_time) if c is not None}


def stage_parsed(
    db: duckdb.DuckDBPyConnection,
    table: RawTable,
    schema: SearchSchema,
    units: Mapping[str, str | None] | None = None,
    *,
    counted: bool = False,
) -> None:
    """Make the table ``parsed`` of the events; nothing is counted or refused.

    Args:
        db: has the table ``items``.
        table: the events.
        schema: says what their columns mean.
        units: of all files, where these are some of them; None to look.
        counted: let ``row`` count the rows, which takes longer.

    Raises:
        DatasetError: the unit of a time column cannot be told.
    """
    e = schema.events
    units = units_of_times(db, table, schema) if units is None else units
    case = " ".join(f"WHEN {test} THEN {literal(kind)}" for kind, test in _kinds_of_malformed(e))
    happened = [f"{name} > 0 AS {name}" for n in e.engagements for name in [quote(engagement(n))]]
    replaced = f"REPLACE ({', '.join(happened)})" if happened else ""
    number_rows = table.counted if counted else table.numbered
    rows = number_rows(lambda types: _typed_columns(schema, table, types, units))
    db.execute(
        f"""CREATE TABLE parsed AS
        SELECT p.* EXCLUDE (item_id, timed) {replaced},
            CASE WHEN item IS NULL THEN item_id END AS unknown_item, CASE {case} END AS malformed
        FROM (SELECT r.*, i.rowid::INTEGER AS item
              FROM ({rows}) r
              LEFT JOIN items i ON i.id = r.item_id) p"""
    )


def unknown_and_known_items() -> dict[str, str]:
    """Return SQL for the distinct item ids of ``parsed`` that ``items`` does not have, and those it has."""
    return {
        "unknown": "SELECT DISTINCT unknown_item AS id FROM parsed WHERE unknown_item IS NOT NULL",
        "known": "SELECT DISTINCT item AS id FROM parsed WHERE item IS NOT NULL",
    }


def is_candidate(schema: SearchSchema) -> str:
    """Return SQL: which rows of ``parsed`` are candidates."""
    return "malformed IS NULL" + ("" if schema.events.impressions else f" AND ({_engaged(schema)})")


def columns_with_a_role(e: EventColumns) -> list[str]:
    """Return the columns that the section ``events`` of a schema names."""
    roles = [e.item, e.query, e.time, e.user, e.request, e.event_time, e.session, e.split, e.position]
    return [
        c for c in [*roles, e.impression_column, e.true_probability, *e.engagements.values()] if c is not None
    ]


def _typed_columns(
    schema: SearchSchema, table: RawTable, types: Mapping[str, str], units: Mapping[str, str | None]
) -> list[str]:
    """Return SQL for each column but ``row``, with ``item_id`` and ``timed``, which tell malformed rows."""
    e = schema.events

    def ids(column: str | None) -> str:
        return identity(column, types.get(column or "", "VARCHAR"))

    def at(column: str) -> str:
        return as_milliseconds(column, types[column], units[column], stated=e.time_unit is not None)

    event_time = at(e.event_time) if e.event_time else "NULL::BIGINT"
    timed = f"{quote(e.event_time)} IS NOT NULL" if e.event_time else "false"
    return [
        f"{ids(e.item)} AS item_id",
        f"trim({text(e.query, types[e.query])}) AS query",
        f"{at(e.time)} AS time",
        f'{ids(e.user)} AS "user"',
        f"{ids(e.request)} AS request_id",
        f"{ids(e.session)} AS session",
        f"lower(trim({ids(e.split)})) AS split",
        f"{number(e.position)} AS position",
        f"{number(e.true_probability)} AS true_probability",
        f"{_shown(e, types)} AS shown",
        f"{event_time} AS event_time",
        f"{timed} AS timed",
        *(
            f"CASE WHEN {quote(c)} IS NULL THEN 0 ELSE {number(c, types[c])} END AS {quote(engagement(n))}"
            for n, c in e.engagements.items()
        ),
        *(
            f"{(number if f.kind == 'number' else identity)(f.column, types[f.column])} "
            f"AS {quote(candidate_column(f.name))}"
            for f in schema.features.candidate
        ),
        *(table.value(c, types, request_column(schema, c, "events")) for c in event_columns(schema)),
    ]


def _shown(e: EventColumns, types: Mapping[str, str]) -> str:
    """Return SQL: whether a row is an impression; NULL where its column is known and not a number."""
    column = e.impression_column
    if column is None:
        return "true" if e.impressions else "false"
    return f"{identity(column, types[column])} IS NOT NULL AND {number(column, types[column])} > 0"


def _kinds_of_malformed(e: EventColumns) -> list[tuple[str, str]]:
    """Return what can be wrong with a row, and SQL for it; the first that holds is told."""
    counts = {quote(engagement(n)): c for n, c in e.engagements.items()}
    return [
        (f"null {e.item}", "item_id IS NULL"),
        (f"null or empty {e.query}", rf"query IS NULL OR NOT regexp_matches(query, '{NOT_BLANK}')"),
        (f"null or unparsable {e.time}", "time IS NULL"),
        *([(f"null {e.user}", '"user" IS NULL')] if e.user else []),
        *([(f"null {e.request}", "request_id IS NULL")] if e.request else []),
        *([(f"unknown {e.split}", f"split IS NULL OR split NOT IN {SPLITS}")] if e.split else []),
        *([(f"unparsable {e.event_time}", "timed AND event_time IS NULL")] if e.event_time else []),
        *((f"NaN or unparsable {c}", f"{n} IS NULL OR NOT isfinite({n})") for n, c in counts.items()),
        *((f"negative {c}", f"{n} < 0") for n, c in counts.items()),
        *(
            [(f"{e.true_probability} not in 0..1", "(true_probability BETWEEN 0 AND 1) IS NOT true")]
            if e.true_probability
            else []
        ),
        *([(f"unparsable {e.impression_column}", "shown IS NULL")] if e.impression_column else []),
        (f"{e.item}{NOT_IN_ITEMS}", "item IS NULL"),
    ]


def count_parsed(db: duckdb.DuckDBPyConnection, schema: SearchSchema) -> ParsedCounts:
    """Count the rows of ``parsed`` by kind; nothing is refused."""
    kinds = dict(db.execute("SELECT coalesce(malformed, ''), count(*) FROM parsed GROUP BY 1").fetchall())
    timed = "event_time" if schema.events.event_time else "NULL"
    found = db.execute(
        f"""SELECT count(*), count({timed}), count(*) FILTER ({timed} < time) FROM parsed
        WHERE malformed IS NULL AND ({_engaged(schema)})"""
    ).fetchone()
    return ParsedCounts(kinds, *map(int, found))


def judge_counts(counts: ParsedCounts, file: str, schema: SearchSchema, *, strict: bool) -> EventCounts:
    """Return what the counts of all files tell.

    Args:
        counts: of all rows.
        file: name of the first file, for messages.
        schema: says what its columns mean.
        strict: refuse malformed rows.

    Raises:
        DatasetError: see :func:`stage_events`.
    """
    malformed = dict(sorted(counts.kinds.items(), key=lambda kind: (-kind[1], kind[0])))
    rows, well_formed = sum(malformed.values()), malformed.pop("", 0)
    if rows == 0:
        raise DatasetError(f"'{file}' has no rows; there is nothing to prepare")
    found = ", ".join(f"{n} x {kind}" for kind, n in malformed.items())
    if malformed and strict:
        raise DatasetError(
            f"'{file}': malformed rows: {found}; correct them, or leave them out without --strict"
        )
    if well_formed == 0:
        raise DatasetError(f"'{file}': every row is malformed: {found}")
    if counts.engaged == 0:
        columns = ", ".join(repr(c) for c in schema.events.engagements.values())
        raise DatasetError(f"'{file}': no row has an engagement; check the columns {columns}")
    early, timed, e = counts.early, counts.timed, schema.events
    if early and (strict or early * 2 > timed):
        raise DatasetError(
            f"'{file}': {early:,} of {timed:,} engagements have an '{e.event_time}' before the "
            f"'{e.time}' of their request; check the unit and the time zone of the two columns, or set "
            "schema.events.event_time to null"
        )
    unengaged = 0 if schema.events.impressions else well_formed - counts.engaged
    return EventCounts(rows, malformed, unengaged, early)


def _unknown_items(db: duckdb.DuckDBPyConnection, counts: EventCounts) -> Unmatched | None:
    if not any(kind.endswith(NOT_IN_ITEMS) for kind in counts.malformed):
        return None
    ids = unknown_and_known_items()
    known = db.execute(f"SELECT count(*) FROM ({ids['known']})").fetchone()[0]
    return unmatched(db, ids["unknown"], int(known), "items", "id")


def _engaged(schema: SearchSchema) -> str:
    """Return SQL: whether anything happened in a row of ``parsed``."""
    return " OR ".join(quote(engagement(n)) for n in schema.events.engagements)
