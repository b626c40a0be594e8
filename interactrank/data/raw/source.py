"""Reading a raw log: find its files, check its columns, leave malformed rows out, group rows by request.

The work is DuckDB's: it streams, and spills to disk beyond its memory limit. What comes out are two tables
in a database file: ``requests`` (in order of time; the row number is the request) and ``candidates`` (in
order of request).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.core.settings import near
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.settings import PrepareSettings, SplitSettings, parse_moment
from interactrank.schema import SearchSchema

NOT_BLANK = r"[^\s\p{Z}]"
EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999


@dataclass(frozen=True)
class Source:
    """The staged log.

    Args:
        db: DuckDB connection with the tables ``requests``, ``candidates`` and ``items``.
        malformed: kind of malformed row -> how many were left out.
        unengaged: rows left out because the log has no impressions and nothing happened in them.
        rows: rows of the events file.
        num_items, num_requests: rows of ``items`` and ``requests``.
    """

    db: Any
    malformed: dict[str, int]
    unengaged: int
    rows: int
    num_items: int
    num_requests: int

    def batches(self, sql: str, size: int = 65_536) -> Iterator[Any]:
        """Arrow record batches of a query, one in memory at a time."""
        with self.db.cursor() as cursor:
            yield from cursor.sql(sql).to_arrow_reader(size)

    def table(self, sql: str) -> Any:
        """A query as one Arrow table."""
        with self.db.cursor() as cursor:
            return cursor.sql(sql).to_arrow_table()


def quote(name: str) -> str:
    """A column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def find_parquet(log: Path, name: str) -> list[str]:
    """The Parquet files of ``events``, ``items`` or ``users``: one file, or a folder of them."""
    if not log.is_dir():
        raise DatasetError(
            f"no folder '{log}'; --data names the folder with events.parquet and items.parquet"
        )
    files = [log / f"{name}.parquet"] if (log / f"{name}.parquet").is_file() else []
    files = files or sorted((log / name).glob("*.parquet"))
    if not files:
        found = ", ".join(sorted(p.name for p in log.iterdir())[:8]) or "nothing"
        raise DatasetError(
            f"'{log}' has neither {name}.parquet nor a folder {name}/ of Parquet files; it has {found}"
        )
    return [str(f) for f in files]


def open_source(log: Path, schema: SearchSchema, settings: PrepareSettings, work: Path) -> Source:
    """Stage the log in ``work``.

    Raises:
        DatasetError: a file or column is missing or unreadable, item ids repeat, nothing is left to prepare,
            or (with ``strict``) a row is malformed.
    """
    duckdb = require("duckdb", extra="data")
    if schema.events.split and settings.split != SplitSettings():
        raise DatasetError(
            f"prepare.split has no effect: the log's column '{schema.events.split}' splits it; "
            "set schema.events.split to null to split by dates or shares"
        )
    config: dict[str, Any] = {
        "memory_limit": settings.memory_limit,
        "temp_directory": str(work / "spill"),
        **({"threads": settings.threads} if settings.threads else {}),
    }
    try:
        db = duckdb.connect(str(work / "staging.duckdb"), config=config)
    except duckdb.Error as error:
        raise DatasetError(f"prepare.memory_limit or threads: {first_line(error)}") from None
    try:
        db.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        num_items = _stage_items(db, log, schema)
        users = _stage_users(db, log, schema)
        malformed, unengaged, rows = _stage_events(db, log, schema, settings)
        num_requests = _stage_requests(db, schema, settings, users)
        _stage_candidates(db, schema)
    except duckdb.Error as error:
        db.close()
        raise DatasetError(f"'{log}': {first_line(error)}") from None
    except BaseException:
        db.close()
        raise
    return Source(db, malformed, unengaged, rows, num_items, num_requests)


def first_line(error: Exception) -> str:
    """What an error of DuckDB's says, without its drawing of the query."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _columns(db: Any, files: list[str], wanted: list[str]) -> dict[str, str]:
    """Column -> type of the files, once all wanted columns are there."""
    duckdb = require("duckdb", extra="data")
    try:
        described = db.execute("DESCRIBE SELECT * FROM read_parquet(?)", [files]).fetchall()
    except duckdb.Error as error:
        raise DatasetError(f"cannot read '{files[0]}': {first_line(error)}") from None
    columns = {row[0]: row[1] for row in described}
    missing = [c for c in dict.fromkeys(wanted) if c not in columns]
    if missing:
        hints = "; ".join(f"no column '{c}'{near(c, columns)}" for c in missing)
        raise DatasetError(f"'{files[0]}': {hints} (the schema names it)")
    return columns


def _stage_items(db: Any, log: Path, schema: SearchSchema) -> int:
    files = find_parquet(log, "items")
    texts = [c for x in schema.lexical for c in x.columns]
    wanted = list(dict.fromkeys([schema.items.id, *(f.column for f in schema.features.item), *texts]))
    _columns(db, files, wanted)
    others = "".join(f", {quote(c)} AS {quote('c_' + c)}" for c in wanted if c != schema.items.id)
    key = quote(schema.items.id)
    db.execute(
        f"CREATE TABLE items AS SELECT CAST({key} AS VARCHAR) AS id{others} FROM read_parquet(?)", [files]
    )
    count, nulls, distinct = db.execute(
        "SELECT count(*), count(*) - count(id), count(DISTINCT id) FROM items"
    ).fetchone()
    if count == 0:
        raise DatasetError(f"'{files[0]}' has no items")
    if nulls:
        raise DatasetError(
            f"'{files[0]}': {nulls} items have no {schema.items.id}; remove them or give them ids"
        )
    if distinct < count:
        repeated = db.execute(
            "SELECT id FROM items GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 3"
        ).fetchall()
        raise DatasetError(
            f"'{files[0]}': {count - distinct} rows repeat an item id, such as "
            f"{', '.join(repr(r[0]) for r in repeated)}; keep one row for each item"
        )
    return int(count)


def _user_columns(schema: SearchSchema) -> list[str]:
    """Columns of the users file that requests need."""
    features = [f.column for f in schema.features.request if f.file == "users"]
    return list(dict.fromkeys([*features, *(s for s, file in schema.segments.items() if file == "users")]))


def _event_columns(schema: SearchSchema) -> list[str]:
    """Columns of the events file that requests need beside query and user."""
    features = [f.column for f in schema.features.request if f.file != "users"]
    wanted = [*features, *(s for s, file in schema.segments.items() if file == "events")]
    return [c for c in dict.fromkeys(wanted) if c not in (schema.events.query, schema.events.user)]


def item_column(schema: SearchSchema, column: str) -> str:
    """Name of an items column in the table ``items``."""
    return "id" if column == schema.items.id else f"c_{column}"


def request_column(schema: SearchSchema, column: str, file: str | None) -> str:
    """Name of a column of the ``events`` (or None) or ``users`` file in the table ``requests``."""
    if file == "users":
        return f"u_{column}"
    return {schema.events.query: "query", schema.events.user: "user"}.get(column, f"c_{column}")


def _stage_users(db: Any, log: Path, schema: SearchSchema) -> bool:
    if schema.users is None:
        return False
    files = find_parquet(log, "users")
    wanted = _user_columns(schema)
    _columns(db, files, [schema.users.id, *wanted])
    others = "".join(f", {quote(c)} AS {quote('u_' + c)}" for c in wanted)
    key = f"CAST({quote(schema.users.id)} AS VARCHAR)"
    db.execute(
        f"""CREATE TABLE users AS SELECT {key} AS "user"{others} FROM read_parquet(?)
        WHERE {quote(schema.users.id)} IS NOT NULL""",
        [files],
    )
    repeated = db.execute('SELECT "user" FROM users GROUP BY 1 HAVING count(*) > 1 LIMIT 1').fetchone()
    if repeated:
        raise DatasetError(
            f"'{files[0]}': user id {repeated[0]!r} is there more than once; keep one row for each"
        )
    return True


def _milliseconds(column: str, kind: str) -> str:
    """SQL for a time column of any usual type as milliseconds since 1970; NULL where it is not a time."""
    name = quote(column)
    if kind.startswith(("TIMESTAMP", "DATE")):
        ms = f"epoch_ms(CAST({name} AS TIMESTAMP))"
    elif kind == "VARCHAR":
        ms = f"epoch_ms(TRY_CAST({name} AS TIMESTAMPTZ))"  # a text may name its time zone; else UTC
    else:
        ms = f"TRY_CAST({name} AS BIGINT)"
    return f"CASE WHEN {ms} BETWEEN {EARLIEST_MS} AND {LATEST_MS} THEN {ms} END"


def _stage_events(
    db: Any, log: Path, schema: SearchSchema, settings: PrepareSettings
) -> tuple[dict[str, int], int, int]:
    """The table ``parsed``: typed columns, and in ``malformed`` what is wrong with the row, if anything.

    Returns:
        Malformed rows by kind, rows without engagement that are not used, and all rows.
    """
    e = schema.events
    files = find_parquet(log, "events")
    roles = [e.item, e.query, e.time, e.user, e.request, e.event_time, e.session, e.split, e.position]
    roles += [e.true_probability, *e.engagements.values()]
    context = _event_columns(schema)
    types = _columns(db, files, [*(c for c in roles if c is not None), *context])

    def text(column: str | None) -> str:
        return "NULL::VARCHAR" if column is None else f"CAST({quote(column)} AS VARCHAR)"

    def number(column: str | None) -> str:
        return "NULL::DOUBLE" if column is None else f"TRY_CAST({quote(column)} AS DOUBLE)"

    select = [
        "row_number() OVER () AS row",
        f"{text(e.item)} AS item_id",
        f"trim({text(e.query)}) AS query",
        f"{_milliseconds(e.time, types[e.time])} AS time",
        f'{text(e.user)} AS "user"',
        f"{text(e.request)} AS request_id",
        f"{text(e.session)} AS session",
        f"lower({text(e.split)}) AS split",
        f"{number(e.position)} AS position",
        f"{number(e.true_probability)} AS true_probability",
        (_milliseconds(e.event_time, types[e.event_time]) if e.event_time else "NULL::BIGINT")
        + " AS event_time",
        (f"{quote(e.event_time)} IS NOT NULL" if e.event_time else "false") + " AS timed",
        *(
            f"CASE WHEN {quote(c)} IS NULL THEN 0 ELSE {number(c)} END AS {quote('e_' + n)}"
            for n, c in e.engagements.items()
        ),
        *(f"{quote(c)} AS {quote('c_' + c)}" for c in context),
    ]
    kinds = [
        (f"null {e.item}", "item_id IS NULL"),
        (f"null or empty {e.query}", rf"query IS NULL OR NOT regexp_matches(query, '{NOT_BLANK}')"),
        (f"null or unparsable {e.time}", "time IS NULL"),
        *([(f"null {e.user}", '"user" IS NULL')] if e.user else []),
        *([(f"null {e.request}", "request_id IS NULL")] if e.request else []),
        *([(f"unknown {e.split}", f"split IS NULL OR split NOT IN {SPLITS}")] if e.split else []),
        *([(f"unparsable {e.event_time}", "timed AND event_time IS NULL")] if e.event_time else []),
        *(
            (f"NaN or unparsable {c}", f"{quote('e_' + n)} IS NULL OR NOT isfinite({quote('e_' + n)})")
            for n, c in e.engagements.items()
        ),
        *((f"negative {c}", f"{quote('e_' + n)} < 0") for n, c in e.engagements.items()),
        *(
            [(f"{e.true_probability} not in 0..1", "(true_probability BETWEEN 0 AND 1) IS NOT true")]
            if e.true_probability
            else []
        ),
        (f"{e.item} not in items", "item IS NULL"),
    ]
    case = " ".join(f"WHEN {test} THEN '{kind.replace(chr(39), chr(39) * 2)}'" for kind, test in kinds)
    db.execute(
        f"""CREATE TABLE parsed AS
        SELECT p.* EXCLUDE (item_id, timed), CASE {case} END AS malformed
        FROM (SELECT r.*, i.rowid::INTEGER AS item FROM (SELECT {", ".join(select)} FROM read_parquet(?)) r
              LEFT JOIN items i ON i.id = r.item_id) p""",
        [files],
    )
    counts = dict(
        db.execute("SELECT malformed, count(*) FROM parsed GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    )
    rows, well_formed = sum(counts.values()), counts.pop(None, 0)
    if rows == 0:
        raise DatasetError(f"'{files[0]}' has no rows; there is nothing to prepare")
    found = ", ".join(f"{n} x {kind}" for kind, n in counts.items())
    if counts and settings.strict:
        raise DatasetError(
            f"'{files[0]}': malformed rows: {found}; mend them, or leave them out without --strict"
        )
    if well_formed == 0:
        raise DatasetError(f"'{files[0]}': every row is malformed: {found}")
    sql = f"SELECT count(*) FROM parsed WHERE malformed IS NULL AND ({_engaged(schema)})"
    engaged = db.execute(sql).fetchone()[0]
    if engaged == 0:
        columns = ", ".join(repr(c) for c in e.engagements.values())
        raise DatasetError(f"'{files[0]}': no row has an engagement; check the columns {columns}")
    return counts, 0 if e.impressions else well_formed - engaged, rows


def _engaged(schema: SearchSchema) -> str:
    """SQL: whether anything happened in a parsed row."""
    return " OR ".join(f"{quote('e_' + n)} > 0" for n in schema.events.engagements)


def _kept(schema: SearchSchema) -> str:
    """SQL: which parsed rows are candidates."""
    return "malformed IS NULL" + ("" if schema.events.impressions else f" AND ({_engaged(schema)})")


def _stage_requests(db: Any, schema: SearchSchema, settings: PrepareSettings, users: bool) -> int:
    key = "request_id" if schema.events.request else "concat_ws(chr(31), coalesce(\"user\", ''), query, time)"
    first = ["query", '"user"', "session", "split", *(quote("c_" + c) for c in _event_columns(schema))]
    grouped = f"""SELECT {key} AS request_id, min(time) AS time,
        {", ".join(f"arg_min({c}, row) AS {c}" for c in first)}
        FROM parsed WHERE {_kept(schema)} GROUP BY 1"""
    joined = f"SELECT g.* FROM ({grouped}) g"
    if users:
        joined = f'SELECT g.*, u.* EXCLUDE ("user") FROM ({grouped}) g LEFT JOIN users u USING ("user")'
    db.execute(f"CREATE TABLE ordered AS {joined} ORDER BY time, request_id")
    count = db.execute("SELECT count(*) FROM ordered").fetchone()[0]
    end = {
        "day": "date_trunc('day', make_timestamp(time * 1000))",
        "month": "date_trunc('month', make_timestamp(time * 1000))",
    }
    boundary = schema.sequence.end if schema.sequence else "request"
    if boundary == "session":
        history_end = """min(time) OVER (PARTITION BY "user", coalesce(session, chr(31) || request_id))"""
    else:
        history_end = f"epoch_ms({end[boundary]})" if boundary in end else "time"
    db.execute('CREATE TABLE user_rows AS SELECT DISTINCT "user" FROM ordered WHERE "user" IS NOT NULL')
    db.execute(
        f"""CREATE TABLE requests AS
        SELECT o.* EXCLUDE (split), o.rowid AS request, coalesce(u.rowid, -1) AS user_row,
            {_split(schema, settings, count)} AS split, {history_end} AS history_end
        FROM ordered o LEFT JOIN user_rows u USING ("user") ORDER BY o.rowid"""
    )
    db.execute("DROP TABLE ordered")
    trained = db.execute("SELECT count(*) FROM requests WHERE split = 'train'").fetchone()[0]
    if trained == 0:
        raise DatasetError(
            "no request falls into the train split; check prepare.split, train_from and the log's times"
        )
    return int(count)


def _split(schema: SearchSchema, settings: PrepareSettings, count: int) -> str:
    """SQL: train, validation, test, or history (before train_from: only there to be counted)."""
    s = settings.split
    if schema.events.split:
        split = "split"
    elif s.test_from:
        since = parse_moment(s.test_from)
        validation = parse_moment(s.validation_from or s.test_from)
        split = f"""CASE WHEN time >= {since} THEN 'test'
            WHEN time >= {validation} THEN 'validation' ELSE 'train' END"""
    else:
        test = round(count * (1 - s.test_share))
        validation = round(count * (1 - s.test_share - s.validation_share))
        split = f"""CASE WHEN o.rowid >= {test} THEN 'test'
            WHEN o.rowid >= {validation} THEN 'validation' ELSE 'train' END"""
    if settings.train_from is None:
        return split
    since = parse_moment(settings.train_from)
    return f"CASE WHEN time < {since} AND ({split}) = 'train' THEN 'history' ELSE {split} END"


def _stage_candidates(db: Any, schema: SearchSchema) -> None:
    """One row for each request and item: of each engagement whether (``e_``) and when first (``t_``)."""
    key = (
        "p.request_id"
        if schema.events.request
        else "concat_ws(chr(31), coalesce(p.\"user\", ''), p.query, p.time)"
    )
    happened = "greatest(p.event_time, p.time)"  # greatest() passes over a missing event_time
    engagements = [
        f"""bool_or(p.{quote("e_" + n)} > 0) AS {quote("e_" + n)},
            coalesce(min({happened}) FILTER (p.{quote("e_" + n)} > 0), 0) AS {quote("t_" + n)}"""
        for n in schema.events.engagements
    ]
    db.execute(
        f"""CREATE TABLE candidates AS
        SELECT r.request, p.item, min(p.position) AS position, min(p.row) AS row,
            max(p.true_probability) AS true_probability, {", ".join(engagements)}
        FROM parsed p JOIN requests r ON r.request_id = {key}
        WHERE {_kept(schema)} GROUP BY 1, 2 ORDER BY r.request, position, row"""
    )
    db.execute("DROP TABLE parsed")
