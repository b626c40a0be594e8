"""The staged table ``requests``.

One row a request, in order of time, then of request id:

    request      BIGINT      its number
    request_id   VARCHAR     events.request, or user, query and time
    time         BIGINT      milliseconds since 1970, of its first event
    query, user  VARCHAR     those of its first row in the log; user may be NULL
    session      VARCHAR
    split        VARCHAR     train, validation, test or warmup
    user_row     BIGINT      a number from 0 for each user, in order of their first requests; -1 without one
    history_end  BIGINT      milliseconds; events of the user before it make the user sequence
    c_*, u_*     as in file  the columns that request features and segments need
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.events import is_candidate
from interactrank.data.raw.splits import split_of
from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import event_columns, request_column
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

__all__ = [
    "MIXED",
    "judge_mixed",
    "judge_trained",
    "request_id",
    "sequence_end",
    "stage_ordered",
    "stage_requests",
]

MIXED = ("user", "query", "time", "split")
"""What all rows of a request should share."""


PLURAL = {"user": "users", "query": "queries", "time": "times", "split": "splits"}


class RequestCounts(NamedTuple):
    """Requests of a log.

    Args:
        requests: all of them.
        mixed: user, query, time or split -> how many requests have rows of several.
    """

    requests: int
    mixed: dict[str, int]


def request_id(schema: SearchSchema, table: str = "parsed") -> str:
    """Return SQL for the request that a row of ``parsed`` belongs to."""
    if schema.events.request:
        return f"{table}.request_id"
    return f"concat_ws(chr(31), coalesce({table}.\"user\", ''), {table}.query, {table}.time)"


def stage_requests(
    db: duckdb.DuckDBPyConnection, schema: SearchSchema, settings: PrepareSettings, *, has_users: bool
) -> RequestCounts:
    """Make the table of the table ``parsed`` (and ``users``).

    Raises:
        DatasetError: no request is trained on, or with ``settings.strict`` one is of several users, queries,
            times or splits.
    """
    count = stage_ordered(db, schema, has_users)
    mixed = _count_mixed(db, schema, settings.strict)
    db.execute(  # in order of their first requests, whatever the number of threads
        """CREATE TABLE user_rows AS SELECT "user" FROM ordered WHERE "user" IS NOT NULL
        GROUP BY "user" ORDER BY min(rowid)"""
    )
    db.execute(
        f"""CREATE TABLE requests AS
        SELECT o.* EXCLUDE (split, {_mixed_columns()}), o.rowid AS request, coalesce(u.rowid, -1) AS user_row,
            {split_of(schema, settings, count)} AS split, {sequence_end(schema)} AS history_end
        FROM ordered o LEFT JOIN user_rows u USING ("user") ORDER BY o.rowid"""
    )
    db.execute("DROP TABLE ordered")
    trained = db.execute("SELECT count(*) FROM requests WHERE split = 'train'").fetchone()[0]
    judge_trained(int(trained), mixed, schema)
    return RequestCounts(count, mixed)


def judge_mixed(mixed: Mapping[str, int], schema: SearchSchema, *, strict: bool) -> None:
    """Refuse requests whose rows differ in what they should share, if so asked.

    Raises:
        DatasetError: there are some, and ``strict`` is set.
    """
    if mixed and strict:
        told = ", ".join(f"{n:,} requests have rows of several {PLURAL[w]}" for w, n in mixed.items())
        raise DatasetError(
            f"{told}; check schema.events.request ('{schema.events.request}'), or leave --strict out"
        )


def judge_trained(trained: int, mixed: Mapping[str, int], schema: SearchSchema) -> None:
    """Refuse a log without requests to train on.

    Raises:
        DatasetError: there are none.
    """
    if trained == 0 and "split" in mixed:
        raise DatasetError(
            f"no request lies in the train split alone: {mixed['split']:,} have rows of several splits "
            f"('{schema.events.split}'); split a log by requests, not by rows"
        )
    if trained == 0:
        raise DatasetError(
            "no request falls into the train split; check prepare.split, train_from and the log's times"
        )


def stage_ordered(db: duckdb.DuckDBPyConnection, schema: SearchSchema, has_users: bool) -> int:
    """Make the table ``ordered``: requests in order, without what depends on other requests."""
    context = [quote(request_column(schema, c, "events")) for c in event_columns(schema)]
    firsts = ", ".join(f"arg_min({c}, row) AS {c}" for c in ["query", '"user"', "session", *context])
    firsts += f", {_split(schema)} AS split, {_mixed(schema)}"
    grouped = f"""SELECT {request_id(schema)} AS request_id, min(time) AS time, {firsts}
        FROM parsed WHERE {is_candidate(schema)} GROUP BY 1"""
    joined = f"SELECT g.* FROM ({grouped}) g"
    if has_users:
        joined = f'SELECT g.*, u.* EXCLUDE ("user") FROM ({grouped}) g LEFT JOIN users u USING ("user")'
    db.execute(f"CREATE TABLE ordered AS {joined} ORDER BY time, request_id")
    return int(db.execute("SELECT count(*) FROM ordered").fetchone()[0])


def _split(schema: SearchSchema) -> str:
    """Return SQL for the split of a request's rows: the last, so that no row of test is trained on."""
    if not schema.events.split:
        return "NULL::VARCHAR"
    return "CASE WHEN bool_or(split = 'test') THEN 'test' ELSE max(split) END"  # validation > train


def _mixed(schema: SearchSchema) -> str:
    """Return SQL, for each of ``MIXED``, for whether the rows of a request differ in it."""
    e = schema.events
    able = {"user": e.user and e.request, "query": e.request, "time": e.request, "split": e.split}
    values = {"user": '"user"', "query": "lower(query)", "time": "time", "split": "split"}
    return ", ".join(
        f"{f'min({values[what]}) <> max({values[what]})' if able[what] else 'false'} AS mixed_{what}"
        for what in MIXED
    )


def _mixed_columns() -> str:
    return ", ".join(f"mixed_{what}" for what in MIXED)


def _count_mixed(db: duckdb.DuckDBPyConnection, schema: SearchSchema, strict: bool) -> dict[str, int]:
    counts = ", ".join(f"count(*) FILTER (mixed_{what})" for what in MIXED)
    found = db.execute(f"SELECT {counts} FROM ordered").fetchone()
    mixed = {what: n for what, n in zip(MIXED, found, strict=True) if n}
    judge_mixed(mixed, schema, strict=strict)
    return mixed


def sequence_end(schema: SearchSchema) -> str:
    """Return SQL for the moment before which events belong to the user sequence of a request."""
    boundary = schema.sequence.end if schema.sequence else "request"
    if boundary == "session":
        return """min(time) OVER (PARTITION BY "user", coalesce(session, chr(31) || request_id))"""
    if boundary in ("day", "month"):
        return f"epoch_ms(date_trunc('{boundary}', make_timestamp(time * 1000)))"
    return "time"
