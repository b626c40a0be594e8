"""Profile: what each column of a table holds, from one pass over its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interactrank.data.extras import duckdb
from interactrank.data.prepare.column_kinds import holding
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import quote
from interactrank.data.raw.table import RawTable
from interactrank.data.raw.time_units import UNITS_MS, plausible

__all__ = ["ColumnProfile", "TableProfile", "profile"]

Holds = Literal["text", "numbers", "times", "texts", "vectors", "nothing"]
"""``texts`` and ``vectors`` are lists; ``nothing`` is for nulls, and for what no feature reads."""

NUMBER_TEXT = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"  # 007 is not a number
PARTS = 9  # numbers that are asked of each column


@dataclass(frozen=True)
class ColumnProfile:
    """What a column holds.

    Args:
        name: of the column.
        holds: what its values are; text that parses as numbers or times is numbers or times.
        known: rows with a value.
        distinct: about how many values.
        minimum, maximum: of numbers; 0 without any.
        whole: whether all numbers are whole.
        words: mean number of words of a text.
        is_text: whether it is text in the files, whatever that says.
    """

    name: str
    holds: Holds
    known: int
    distinct: int
    minimum: float
    maximum: float
    whole: bool
    words: float
    is_text: bool


@dataclass(frozen=True)
class TableProfile:
    """A table and its columns.

    Args:
        name: ``events``, ``items`` or ``users``; a view of that name has the rows.
        rows: of all files.
        columns: name -> profile.
        table: the files.
    """

    name: str
    rows: int
    columns: dict[str, ColumnProfile]
    table: RawTable


def profile(db: duckdb.DuckDBPyConnection, place: Place, name: str) -> TableProfile:
    """Look at all columns of a table of a log, and make a view of its rows.

    Raises:
        DatasetError: there is no such table, or a file of it cannot be read.
    """
    table = RawTable.open(db, place, name)
    db.execute(f"CREATE VIEW {name} AS {table.rows(table.types)}")
    asked = ", ".join(_asked(quote(c), kind) for c, kind in table.types.items())
    rows, *found = db.execute(f"SELECT count(*), {asked} FROM {name}").fetchone()
    columns = {}
    for at, (column, kind) in enumerate(table.types.items()):
        columns[column] = _profile(column, kind, found[at * PARTS : (at + 1) * PARTS])
    return TableProfile(name, int(rows), columns, table)


def _asked(c: str, kind: str) -> str:
    """Return SQL for the numbers that are asked of a column."""
    text = f"CAST({c} AS VARCHAR)"
    number = f"CASE WHEN regexp_matches({text}, '{NUMBER_TEXT}') THEN TRY_CAST({text} AS DOUBLE) END"
    moment = f"count(TRY_CAST({text} AS TIMESTAMPTZ))"
    if kind != "VARCHAR":
        scalar = not kind.endswith(("]", ")")) or kind.startswith("DECIMAL")
        number, moment = (f"TRY_CAST({c} AS DOUBLE)" if scalar else "NULL::DOUBLE"), "0"
        number = f"CASE WHEN isfinite({number}) THEN {number} END"
    if kind.startswith(("TIMESTAMP", "DATE", "TIME", "INTERVAL")):
        number = "NULL::DOUBLE"
    units = " OR ".join(plausible(number, unit) for unit in UNITS_MS)
    return (
        f"count({c}), approx_count_distinct({c}), count({number}), min({number}), max({number}), "
        f"count(*) FILTER ({number} <> trunc({number})), {moment}, count(*) FILTER ({units}), "
        f"avg(len(string_split(trim({text}), ' ')))"
    )


def _profile(name: str, kind: str, found: list[float | None]) -> ColumnProfile:
    known, distinct, numbers, low, high, fractions, moments, in_units, words = (x or 0 for x in found)
    holds: Holds = "nothing"
    inside = holding(kind)
    if known and inside is not None:
        if inside == "lists of text":
            holds = "texts"
        elif inside.startswith("lists"):
            holds = "vectors"
        elif inside == "times" or (kind == "VARCHAR" and moments == known and numbers < known):
            holds = "times"
        elif inside == "numbers" or numbers == known:
            holds = "times" if _looks_like_times(name) and in_units > known / 2 else "numbers"
        else:
            holds = "text"
    return ColumnProfile(
        name, holds, int(known), int(distinct), low, high, not fractions, float(words), kind == "VARCHAR"
    )


def _looks_like_times(name: str) -> bool:
    parts = name.lower().replace("-", "_").split("_")
    return any(p in ("time", "timestamp", "ts", "at", "date", "datetime", "moment") for p in parts) or (
        name.lower().endswith(("time", "timestamp", "date"))
    )
