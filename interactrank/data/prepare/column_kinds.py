"""Whether the columns of a log fit the kinds of features that read them; told before the long work begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from interactrank.cross_features import Bm25Settings
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import WHOLE_TYPES, first_line, quote
from interactrank.data.raw.staged_columns import event_columns, item_columns, user_columns
from interactrank.data.raw.table import RawTable
from interactrank.schema import Feature, SearchSchema

__all__ = ["check_column_kinds"]

Holds = Literal["text", "numbers", "times", "lists of text", "lists of whole numbers", "lists of numbers"]

KINDS: dict[Holds, tuple[str, ...]] = {
    "text": ("id", "words", "trigrams"),
    "numbers": ("id", "number"),
    "times": ("id",),
    "lists of text": ("id",),
    "lists of whole numbers": ("id", "vector"),
    "lists of numbers": ("vector",),
}
"""What a column holds -> kinds of features that can read it."""

LISTS: dict[Holds | None, Holds] = {"text": "lists of text", "numbers": "lists of numbers"}

NUMBER_TYPES = (*WHOLE_TYPES, "FLOAT", "DOUBLE", "BOOLEAN")
TIME_TYPES = ("DATE", "TIME", "INTERVAL")


@dataclass(frozen=True)
class _File:
    """One of the three files of a log, as DuckDB reads it."""

    db: duckdb.DuckDBPyConnection
    name: str
    sql: str
    types: dict[str, str]

    def first(self, expression: str, where: str) -> object:
        """Return the first value of an expression in rows that meet a condition; None if none does."""
        sql = f"SELECT {expression} FROM ({self.sql}) WHERE {where} LIMIT 1"
        found = self.db.execute(sql).fetchone()
        return None if found is None else found[0]


def check_column_kinds(log: str | os.PathLike[str], schema: SearchSchema) -> None:
    """Refuse features whose columns hold something else than their kind can read.

    Raises:
        DatasetError: names each such feature, its column, what that holds and the kinds that fit.
    """
    try:
        with duckdb.connect() as db:
            place = Place.of(log)
            problems = [p for f, file in _features(db, place, schema) if (p := _problem(f, file, schema))]
            problems += _text_problems(_open(db, place, "items", item_columns(schema)), schema)
    except duckdb.Error as error:
        raise DatasetError(f"'{log}': {first_line(error)}") from None
    if problems:
        raise DatasetError("; ".join(problems))


def _features(
    db: duckdb.DuckDBPyConnection, log: Place, schema: SearchSchema
) -> Iterator[tuple[Feature, _File]]:
    files = {"items": _open(db, log, "items", item_columns(schema))}
    of_candidates = [f.column for f in schema.features.candidate]
    files["events"] = _open(db, log, "events", [*event_columns(schema), *of_candidates])
    if schema.users is not None:
        files["users"] = _open(db, log, "users", user_columns(schema))
    for f in schema.features.item:
        yield f, files["items"]
    for c in schema.features.candidate:
        if c.kind == "number":
            yield Feature(name=c.name, kind="number", column=c.column), files["events"]
    for f in schema.features.request:
        yield f, files["users" if f.file == "users" else "events"]


def _open(db: duckdb.DuckDBPyConnection, log: Place, name: str, wanted: list[str]) -> _File:
    table = RawTable.open(db, log, name, wanted)
    return _File(db, name, table.rows(table.types) if table.types else "SELECT 1", table.types)


def _problem(feature: Feature, file: _File, schema: SearchSchema) -> str | None:
    kind = file.types.get(feature.column, "VARCHAR")
    e = schema.events
    ids = (schema.items.id,) if file.name == "items" else (e.query, e.user) if file.name == "events" else ()
    holds = holding(kind)
    if feature.column in ids and holds in ("text", "numbers", "times"):
        return None  # read as text, whatever its type
    if holds is None or feature.kind not in KINDS[holds]:
        return _other_kind(feature, file, holds)
    if feature.kind == "id" and holds.startswith("lists") and feature.table in schema.sequence_tables:
        return (
            f"feature '{feature.name}': column '{feature.column}' holds lists, but table '{feature.table}' "
            "is the user sequence's, where a value has one row; give the feature a table of its own"
        )
    return _other_width(feature, file) if feature.kind == "vector" else None


def _other_kind(feature: Feature, file: _File, holds: Holds | None) -> str | None:
    column = quote(feature.column)
    known = f"{column} IS NOT NULL"
    if feature.kind == "number" and holds == "text":  # numbers may be written as text
        known += f" AND TRY_CAST({column} AS DOUBLE) IS NULL"
    value = file.first(f"CAST({column} AS VARCHAR)", known)
    if value is None:
        return None
    fitting = "no kind reads that" if holds is None else f"kinds that fit: {', '.join(KINDS[holds])}"
    return (
        f"feature '{feature.name}': kind {feature.kind} does not go with column '{feature.column}' of "
        f"{file.name}, which holds {holds or file.types[feature.column]} such as {str(value)[:40]!r}; "
        f"{fitting}"
    )


def _other_width(feature: Feature, file: _File) -> str | None:
    column = quote(feature.column)
    width = file.first(f"len({column})", f"len({column}) NOT IN (0, {feature.dim})")
    if width is None:
        return None
    return (
        f"feature '{feature.name}': column '{feature.column}' of {file.name} has vectors of {width} numbers, "
        f"the schema says dim: {feature.dim}; all vectors of a feature have one width"
    )


def _text_problems(items: _File, schema: SearchSchema) -> list[str]:
    """Return what is wrong with the columns of text matches."""
    return [
        f"cross_features '{x.name}': column '{c}' of items holds {items.types[c]}; a text match reads text"
        for x in schema.cross_features
        if isinstance(x, Bm25Settings)
        for c in x.columns
        if c != schema.items.id
        and holding(items.types[c]) != "text"
        and items.first("true", f"{quote(c)} IS NOT NULL")
    ]


def holding(kind: str) -> Holds | None:
    """Return what a column of a DuckDB type holds; None for anything that no feature reads.

    Example::

        >>> [holding(kind) for kind in ("DECIMAL(10,2)", "FLOAT[]", "FLOAT[64]", "VARCHAR[]", "MAP(A, B)")]
        ['numbers', 'lists of numbers', 'lists of numbers', 'lists of text', None]
    """
    if kind.endswith("]"):
        inside = kind[: kind.rindex("[")]
        if inside in WHOLE_TYPES:
            return "lists of whole numbers"
        return LISTS.get(holding(inside))
    if kind in NUMBER_TYPES or kind.startswith("DECIMAL"):
        return "numbers"
    if kind.startswith(("TIMESTAMP", *TIME_TYPES)):
        return "times"
    return "text" if kind in ("VARCHAR", "UUID", "BLOB", "JSON") or kind.startswith("ENUM") else None
