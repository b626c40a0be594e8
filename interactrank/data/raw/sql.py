"""Pieces of DuckDB's SQL, and its errors."""

from __future__ import annotations

__all__ = ["EARLIEST_MS", "LATEST_MS", "first_line", "milliseconds", "number", "quote", "text"]

EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999


def quote(name: str) -> str:
    """Return a column name as SQL.

    Example::

        >>> print(quote('a "b"'))
        "a ""b\"""
    """
    return '"' + name.replace('"', '""') + '"'


def text(column: str | None) -> str:
    """Return SQL for a column as text; NULL without a column."""
    return "NULL::VARCHAR" if column is None else f"CAST({quote(column)} AS VARCHAR)"


def number(column: str | None) -> str:
    """Return SQL for a column as a number, NULL in rows that hold none; NULL without a column."""
    return "NULL::DOUBLE" if column is None else f"TRY_CAST({quote(column)} AS DOUBLE)"


def milliseconds(column: str, kind: str) -> str:
    """Return SQL for a time column of any usual type as milliseconds since 1970; NULL if it is not a time.

    Args:
        column: its name.
        kind: its DuckDB type.
    """
    name = quote(column)
    if kind.startswith(("TIMESTAMP", "DATE")):
        ms = f"epoch_ms(CAST({name} AS TIMESTAMP))"
    elif kind == "VARCHAR":
        ms = f"epoch_ms(TRY_CAST({name} AS TIMESTAMPTZ))"  # a text may name its time zone; else UTC
    else:
        ms = f"TRY_CAST({name} AS BIGINT)"
    return f"CASE WHEN {ms} BETWEEN {EARLIEST_MS} AND {LATEST_MS} THEN {ms} END"


def first_line(error: Exception) -> str:
    """Return what an error of DuckDB's says, without its drawing of the query."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
