"""The staged table ``requests``.

One row a request, in order of time, then of request id:

    request      BIGINT      its number
    request_id   VARCHAR     events.request, or user, query and time
    time         BIGINT      milliseconds since 1970, of its first event
    query, user  VARCHAR     those of its first row in the log; user may be NULL
    session      VARCHAR
    split        VARCHAR     train, validation, test or warmup
    user_row     BIGINT      a number from 0 for each user; -1 without a user
    history_end  BIGINT      milliseconds; events of the user before it make the user sequence
    c_*, u_*     as in file  the columns that request features and segments need
"""

from __future__ import annotations

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.events import is_candidate
from interactrank.data.raw.splits import split_of
from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import event_columns, request_column
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

__all__ = ["request_id", "sequence_end", "stage_ordered", "stage_requests"]


def request_id(schema: SearchSchema, table: str = "parsed") -> str:
    """Return SQL for the request that a row of ``parsed`` belongs to."""
    if schema.events.request:
        return f"{table}.request_id"
    return f"concat_ws(chr(31), coalesce({table}.\"user\", ''), {table}.query, {table}.time)"


def stage_requests(
    db: duckdb.DuckDBPyConnection, schema: SearchSchema, settings: PrepareSettings, *, has_users: bool
) -> int:
    """Make the table of the table ``parsed`` (and ``users``), and return its number of rows.

    Raises:
        DatasetError: no request is trained on.
    """
    count = stage_ordered(db, schema, has_users)
    db.execute('CREATE TABLE user_rows AS SELECT DISTINCT "user" FROM ordered WHERE "user" IS NOT NULL')
    db.execute(
        f"""CREATE TABLE requests AS
        SELECT o.* EXCLUDE (split), o.rowid AS request, coalesce(u.rowid, -1) AS user_row,
            {split_of(schema, settings, count)} AS split, {sequence_end(schema)} AS history_end
        FROM ordered o LEFT JOIN user_rows u USING ("user") ORDER BY o.rowid"""
    )
    db.execute("DROP TABLE ordered")
    trained = db.execute("SELECT count(*) FROM requests WHERE split = 'train'").fetchone()[0]
    if trained == 0:
        raise DatasetError(
            "no request falls into the train split; check prepare.split, train_from and the log's times"
        )
    return count


def stage_ordered(db: duckdb.DuckDBPyConnection, schema: SearchSchema, has_users: bool) -> int:
    """Make the table ``ordered``: requests in order, without what depends on other requests."""
    context = [quote(request_column(schema, c, "events")) for c in event_columns(schema)]
    firsts = ", ".join(f"arg_min({c}, row) AS {c}" for c in ["query", '"user"', "session", "split", *context])
    grouped = f"""SELECT {request_id(schema)} AS request_id, min(time) AS time, {firsts}
        FROM parsed WHERE {is_candidate(schema)} GROUP BY 1"""
    joined = f"SELECT g.* FROM ({grouped}) g"
    if has_users:
        joined = f'SELECT g.*, u.* EXCLUDE ("user") FROM ({grouped}) g LEFT JOIN users u USING ("user")'
    db.execute(f"CREATE TABLE ordered AS {joined} ORDER BY time, request_id")
    return int(db.execute("SELECT count(*) FROM ordered").fetchone()[0])


def sequence_end(schema: SearchSchema) -> str:
    """Return SQL for the moment before which events belong to the user sequence of a request."""
    boundary = schema.sequence.end if schema.sequence else "request"
    if boundary == "session":
        return """min(time) OVER (PARTITION BY "user", coalesce(session, chr(31) || request_id))"""
    if boundary in ("day", "month"):
        return f"epoch_ms(date_trunc('{boundary}', make_timestamp(time * 1000)))"
    return "time"
