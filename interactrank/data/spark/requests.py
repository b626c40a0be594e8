"""From the files of a log to requests with their candidates: one row of Spark a request.

Each file is read by a task, by the code of one machine. Its rows go to the partition of their request, where
the same SQL groups them. Candidates are lists, in the order in which they will be prepared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from interactrank.core.files import atomic_write
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.text import hash63, normalize
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.extras import duckdb, pa, pc, pq
from interactrank.data.prepare.raw_requests import RawRequests
from interactrank.data.prepared.user_sequences import Events
from interactrank.data.raw.candidates import stage_candidates
from interactrank.data.raw.events import (
    columns_with_a_role,
    count_parsed,
    is_candidate,
    stage_parsed,
    unknown_and_known_items,
)
from interactrank.data.raw.files import find_files
from interactrank.data.raw.place import Place
from interactrank.data.raw.requests import MIXED, sequence_end, stage_ordered
from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import candidate_column, engagement, engagement_time, event_columns
from interactrank.data.raw.table import RawTable
from interactrank.data.spark.job import ITEMS, Job, arrow_batches, arrow_table, database

__all__ = ["COUNTS", "events_table", "group", "grouped_schema", "parse", "parsed_schema", "raw_requests"]

COUNTS = "counts"  # folder of the work: what the task of each file counted
_FILE = 1 << 40  # rows of a file, at most: a row's number is its file's times this, and its place there
_LISTS = "l_"  # columns of candidates, as lists


class _NoRows(RawTable):
    """A table whose columns alone are wanted."""

    def select(self, columns: Any) -> str:
        """Return a query of the columns, without a row."""
        return f"SELECT * FROM ({super().select(columns)}) LIMIT 0"

    def numbered(self, columns: Any) -> str:
        """Return a query of the columns and ``row``, without a row."""
        return f"SELECT * FROM ({super().numbered(columns)}) LIMIT 0"


def events_table(db: duckdb.DuckDBPyConnection, job: Job, place: int | None = None) -> RawTable:
    """Return the events of the log, or one file of them."""
    files = find_files(Place.of(job.log), "events")
    files = files if place is None else files[place : place + 1]
    given = [f.column for f in job.schema.features.candidate]
    roles = [*columns_with_a_role(job.schema.events), *event_columns(job.schema), *given]
    return RawTable.of(db, files, "events", roles)


def parse(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the candidates among the rows of the files of the numbers in a column ``id``."""
    for batch in batches:
        for place in batch["id"].to_pylist():
            with database(job) as db:
                _read_items(db, job)
                table = events_table(db, job, place)
                stage_parsed(db, table, job.schema, job.units)
                _save_counts(db, job, table.first, place)
                yield from arrow_batches(db, _rows(job, place), 8192)


def parsed_schema(job: Job) -> pa.Schema:
    """Return what :func:`parse` yields."""
    with database(job) as db:
        _no_rows(db, job)
        return arrow_table(db, _rows(job, 0)).schema


def group(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the requests of a partition that holds all rows of each, as :func:`parse` yields them."""
    first = next(batches, None)
    if first is None:
        return
    with database(job) as db:

        def arriving() -> Iterator[pa.RecordBatch]:
            yield first
            yield from batches

        reader = pa.RecordBatchReader.from_batches(first.schema, arriving())
        db.register("arriving", reader)
        db.execute("CREATE TABLE parsed AS SELECT *, NULL::VARCHAR AS malformed FROM arriving")
        for batch in arrow_batches(db, _group(db, job), 2048):
            yield _with_hash(batch)


def grouped_schema(job: Job) -> pa.Schema:
    """Return what :func:`group` yields."""
    with database(job) as db:
        _no_rows(db, job)
        return _with_hash(arrow_table(db, _group(db, job))).schema


def raw_requests(job: Job, rows: pa.Table, *, fields: bool = True) -> RawRequests:
    """Return rows of grouped requests as the preparation reads them, with user sequences if they have them.

    Args:
        job: the preparation.
        rows: R rows of :func:`group` with ``request``, ``split``, ``user_row`` and ``history_end``.
        fields: whether fields of items are wanted, which are there once the items are written.
    """
    rows = rows.combine_chunks()
    local = pa.array(np.arange(len(rows)), pa.int64())  # numbers that follow one another
    lists = [n for n in rows.column_names if n.startswith(_LISTS)]
    columns = {n: rows[n].combine_chunks() for n in rows.column_names if n not in lists}
    columns |= {"request": local} | job.columns_of_users(rows["user"].combine_chunks())
    lengths = pc.list_value_length(rows[f"{_LISTS}item"].combine_chunks()).to_numpy(zero_copy_only=False)
    flat = {n.removeprefix(_LISTS): pc.list_flatten(rows[n].combine_chunks()) for n in lists}
    flat["request"] = pa.array(np.repeat(np.arange(len(rows)), lengths), pa.int64())
    sequences: Any = _GivenSequences(rows) if "s_item" in rows.column_names else None
    vocabulary = None if sequences is None else job.query_vocabulary
    of_items = job.fields if fields else {}
    return RawRequests(job.schema, pa.table(columns), pa.table(flat), sequences, vocabulary, of_items)


class _GivenSequences:
    """The user sequences that requests came with, in the place of those of all users."""

    def __init__(self, rows: pa.Table) -> None:
        item, lengths = from_arrow(rows["s_item"])
        rest = [from_arrow(rows[f"s_{n}"]).values for n in ("query", "action", "age")]
        self._events = Events(Jagged(item, lengths), *rest)

    def last(self, *_: Any) -> Events:
        """Return the sequences of all R requests."""
        return self._events


def _read_items(db: duckdb.DuckDBPyConnection, job: Job) -> None:
    db.execute(f"CREATE TABLE items AS SELECT id FROM read_parquet('{_escaped(job.work / ITEMS)}')")


def _no_rows(db: duckdb.DuckDBPyConnection, job: Job) -> None:
    """Make an empty table ``parsed``."""
    _read_items(db, job)
    table = events_table(db, job)
    stage_parsed(db, _NoRows(table.name, table.files, table.groups, table.types), job.schema, job.units)


def _rows(job: Job, place: int) -> str:
    return f"""SELECT {place * _FILE} + row AS row, * EXCLUDE (row, unknown_item, malformed)
        FROM parsed WHERE {is_candidate(job.schema)}"""


def _group(db: duckdb.DuckDBPyConnection, job: Job) -> str:
    """Make the tables of requests and candidates, and return SQL for them together."""
    schema, end = job.schema, job.schema.sequence and job.schema.sequence.end
    stage_ordered(db, schema, has_users=False)
    ending = "time" if end == "session" else sequence_end(schema)
    db.execute(f"CREATE VIEW requests AS SELECT *, rowid AS request, {ending} AS history_end FROM ordered")
    stage_candidates(db, schema)
    names = ["item", "position", "row", "true_probability", "shown"]
    names += [candidate_column(f.name) for f in schema.features.candidate]
    names += [of(n) for n in schema.events.engagements for of in (engagement, engagement_time)]
    lists = ", ".join(f"list({quote(n)} ORDER BY position, row) AS {quote(_LISTS + n)}" for n in names)
    mixed = ", ".join(f"mixed_{what}" for what in MIXED)
    return f"""SELECT r.* EXCLUDE (request, {mixed}), {mixed}, c.* EXCLUDE (request) FROM requests r
        JOIN (SELECT request, {lists} FROM candidates GROUP BY request) c USING (request)"""


def _with_hash(batch: Any) -> Any:
    """Append the key of the query, by which requests with the same one meet."""
    queries = batch["query"].to_pylist()
    keys = np.fromiter((hash63(normalize(q)) for q in queries), np.int64, len(queries))
    return batch.append_column("query_key", pa.array(keys))


def _save_counts(db: duckdb.DuckDBPyConnection, job: Job, file: str, place: int) -> None:
    """Write what a file's rows are; a task that runs again writes the same."""
    folder = Path(job.work) / COUNTS
    folder.mkdir(parents=True, exist_ok=True)
    found = json.dumps(count_parsed(db, job.schema)._asdict())
    atomic_write(folder / f"{place:05d}.json", lambda path: Path(path).write_text(found))
    for name, sql in unknown_and_known_items().items():
        ids = arrow_table(db, sql)
        atomic_write(folder / f"{name}-{place:05d}.parquet", partial(pq.write_table, ids))


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
