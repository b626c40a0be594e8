"""Whether the numbers of a time column are seconds, milli-, micro- or nanoseconds since 1970.

Moments of the years 1980 to 2200 differ in size by unit: 10, 13, 16 or 19 digits, and the four ranges do not
meet. The unit in which most rows fall into these years is that of the column.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.sql import is_number, milliseconds, quote, text
from interactrank.data.raw.table import RawTable

__all__ = ["UNITS_MS", "UNIT_NAMES", "as_milliseconds", "time_unit"]

logger = logging.getLogger(__name__)

UNITS_MS = {"ms": 1.0, "s": 1e3, "us": 1e-3, "ns": 1e-6}
"""Milliseconds of a unit; the first wins where as many rows speak for another."""

UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
FIRST_MS, LAST_MS = 315_532_800_000, 7_258_118_400_000  # 1980 to 2200


def plausible(value: str, unit: str) -> str:
    """Return SQL: whether a number of a unit lies in the years 1980 to 2200."""
    scale = UNITS_MS[unit]
    return f"{value} BETWEEN {FIRST_MS / scale:.0f} AND {LAST_MS / scale:.0f}"


def as_milliseconds(column: str, kind: str, unit: str | None, *, stated: bool) -> str:
    """Return SQL for a time column as milliseconds since 1970; NULL where it is not a time.

    Args:
        column: its name.
        kind: its DuckDB type.
        unit: of its numbers, as :func:`time_unit` tells; None if it holds none.
        stated: whether a user said the unit; if not, numbers that must be of another are left out.
    """
    if unit is None:
        return milliseconds(column, kind)
    return milliseconds(column, kind, UNITS_MS[unit], "false" if stated else _another_unit(unit))


def _another_unit(unit: str) -> str:
    """Return SQL: whether a number, written ``{}``, lies in the years 1980 to 2200 of another unit alone."""
    return " OR ".join(plausible("{}", other) for other in UNITS_MS if other != unit)


def time_unit(db: duckdb.DuckDBPyConnection, table: RawTable, column: str) -> str | None:
    """Return the unit of the numbers of a time column: s, ms, us or ns; None if it holds no numbers.

    Raises:
        DatasetError: the numbers are not moments since 1970 in any unit.
    """

    def values(types: Mapping[str, str]) -> list[str]:
        kind = types[column]
        if is_number(kind):
            return [f"CAST({quote(column)} AS DOUBLE) AS v"]
        if kind in ("VARCHAR", "BLOB"):
            return [f"TRY_CAST({text(column, kind)} AS DOUBLE) AS v"]
        return ["NULL::DOUBLE AS v"]

    if not any(is_number(g.types[column]) or g.types[column] in ("VARCHAR", "BLOB") for g in table.groups):
        return None
    votes = ", ".join(f"count(*) FILTER ({plausible('v', unit)})" for unit in UNITS_MS)
    known, example, *counts = db.execute(
        f"SELECT count(v), any_value(v), {votes} FROM ({table.select(values)}) WHERE isfinite(v)"
    ).fetchone()
    if not known:
        return None
    if not any(counts):
        raise DatasetError(
            f"'{table.first}': column '{column}' holds numbers such as {example:.15g}, which are not "
            "seconds, milliseconds, microseconds or nanoseconds since 1970 of the years 1980 to 2200; say "
            "which unit they are (schema.events.time_unit), or write timestamps"
        )
    unit = list(UNITS_MS)[counts.index(max(counts))]
    if unit != "ms":
        logger.info("column '%s' is read as %s since 1970", column, UNIT_NAMES[unit])
    return unit
