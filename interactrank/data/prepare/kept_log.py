"""The log that a dataset keeps, if ``prepare.keep_log`` says so: the columns that its schema names.

It is a folder ``log`` that can be prepared like any log: ``events/`` with a file for each day that was
appended, ``items.parquet`` and ``users.parquet`` with the newest version of each row.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.prepare.column_kinds import holding
from interactrank.data.raw.events import columns_with_a_role
from interactrank.data.raw.files import DataFile, files_at
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import identity, quote
from interactrank.data.raw.staged_columns import event_columns, item_columns, user_columns
from interactrank.data.raw.table import RawTable
from interactrank.schema import SearchSchema

__all__ = [
    "EVENTS",
    "LOG",
    "casts",
    "copy_events",
    "keep_log",
    "link_file",
    "merge_rows",
    "named_columns",
    "same_types",
    "text_of",
]

LOG = "log"
EVENTS = "events"


def named_columns(schema: SearchSchema, name: str) -> list[str]:
    """Return the columns of ``events``, ``items`` or ``users`` that the schema names, the id first."""
    if name == "items":
        return list(dict.fromkeys([schema.items.id, *item_columns(schema)]))
    if name == "users":
        assert schema.users is not None
        return list(dict.fromkeys([schema.users.id, *user_columns(schema)]))
    given = [f.column for f in schema.features.candidate]
    return list(dict.fromkeys([*columns_with_a_role(schema.events), *event_columns(schema), *given]))


def keep_log(log: str | os.PathLike[str], dataset: Path, schema: SearchSchema) -> None:
    """Copy the columns of a log that the schema names into a dataset's folder."""
    target = dataset / LOG
    (target / EVENTS).mkdir(parents=True)
    place = Place.of(log)
    with duckdb.connect() as db:
        for name in ["events", "items", *(["users"] if schema.users else [])]:
            columns = named_columns(schema, name)
            rows = RawTable.open(db, place, name, columns).rows(columns)
            _copy(db, rows, _segment(target, 0) if name == EVENTS else target / f"{name}.parquet")


def copy_events(kept: Path, target: Path, new: list[DataFile], schema: SearchSchema) -> None:
    """Write the events of a kept log and of a new day into ``target``; the day is one more file.

    Args:
        kept: folder ``log`` of a dataset.
        target: folder ``log`` of the next one, made here.
        new: files of the day; none to add nothing.
        schema: names the columns.
    """
    (target / EVENTS).mkdir(parents=True)
    segments = sorted((kept / EVENTS).glob("*.parquet"))
    for path in segments:
        link_file(path, target / EVENTS / path.name)
    if not new:
        return
    last = int(segments[-1].stem)
    with duckdb.connect() as db:
        columns = named_columns(schema, "events")
        types = RawTable.of(db, files_at(segments[0]), EVENTS, columns).types
        day = RawTable.of(db, new, EVENTS, columns).rows(columns)
        _copy(db, f"SELECT {casts(types)} FROM ({day})", _segment(target, last + 1))


def merge_rows(kept: Path, target: Path, name: str, new: list[DataFile], schema: SearchSchema) -> None:
    """Write ``items`` or ``users``: rows keep their places, changed ones are replaced, new ones come last.

    Args:
        kept, target: see :func:`copy_events`.
        name: ``items`` or ``users``.
        new: files with rows that have changed or are new; none for no change.
        schema: names the columns.
    """
    old, out = kept / f"{name}.parquet", target / f"{name}.parquet"
    if not new:
        link_file(old, out)
        return
    columns = named_columns(schema, name)
    with duckdb.connect() as db:
        before = RawTable.of(db, files_at(old), name, columns)
        now = RawTable.of(db, new, name, columns)
        plain = ", ".join(quote(c) for c in columns)
        for table, rows in (("old", before), ("new", now)):
            key = identity(columns[0], rows.types[columns[0]])
            db.execute(
                f"""CREATE TABLE {table} AS
                SELECT {casts(before.types)}, {key} AS key__ FROM ({rows.rows(columns)})"""
            )
        chosen = ", ".join(
            f"CASE WHEN n.key__ IS NULL THEN o.{quote(c)} ELSE n.{quote(c)} END AS {quote(c)}"
            for c in columns
        )
        db.execute(
            f"""COPY (SELECT {plain} FROM (
                SELECT {chosen}, 0 AS part__, o.rowid AS place__ FROM old o LEFT JOIN new n USING (key__)
                UNION ALL
                SELECT {", ".join(f"n.{quote(c)}" for c in columns)}, 1, n.rowid FROM new n
                WHERE n.key__ NOT IN (SELECT key__ FROM old WHERE key__ IS NOT NULL))
            ORDER BY part__, place__) TO {text_of(out)} (FORMAT parquet, COMPRESSION zstd)"""
        )


def casts(types: Mapping[str, str]) -> str:
    """Return SQL for columns as the types that they have in the kept log."""
    return ", ".join(f"CAST({quote(c)} AS {kind}) AS {quote(c)}" for c, kind in types.items())


def same_types(kept: Path, new: list[DataFile], name: str, schema: SearchSchema) -> None:
    """Refuse files whose columns hold something else than those of the kept log.

    Raises:
        DatasetError: a column is missing, or holds another sort of values; names the first.
    """
    columns = named_columns(schema, name)
    old = sorted((kept / name).glob("*.parquet")) or [kept / f"{name}.parquet"]
    with duckdb.connect() as db:
        before = RawTable.of(db, files_at(old[0]), name, columns).types
        day = RawTable.of(db, new, name, columns)
        now = day.types
        for c in columns:
            if holding(before[c]) == holding(now[c]):
                continue
            some = f"SELECT 1 FROM ({day.rows([c])}) WHERE {quote(c)} IS NOT NULL LIMIT 1"
            if db.execute(some).fetchone() is None:
                continue  # a column of nulls has any type
            raise DatasetError(
                f"'{day.first}': column '{c}' holds {holding(now[c]) or now[c]}; in the dataset it holds "
                f"{holding(before[c]) or before[c]}; write the day as the days before it"
            )


def text_of(path: Path) -> str:
    """Return a path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def _copy(db: duckdb.DuckDBPyConnection, rows: str, target: Path) -> None:
    db.execute(f"COPY ({rows}) TO {text_of(target)} (FORMAT parquet, COMPRESSION zstd)")


def _segment(log: Path, number: int) -> Path:
    return log / EVENTS / f"{number:05d}.parquet"


def link_file(source: Path, target: Path) -> None:
    """Give a file, which is never changed, a second name; copy it where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
