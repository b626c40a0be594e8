"""Pieces of DuckDB's SQL, and its errors."""

from __future__ import annotations

__all__ = [
    "EARLIEST_MS",
    "LATEST_MS",
    "first_line",
    "identity",
    "is_number",
    "literal",
    "milliseconds",
    "number",
    "quote",
    "text",
]

EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
WHOLE_TYPES = (*INTEGERS, *(f"U{kind}" for kind in INTEGERS))
FRACTIONS = ("FLOAT", "DOUBLE")
WHOLE_TEXT = r"^(-?(?:0|[1-9][0-9]*))\.0+$"  # see interactrank.core.ids


def quote(name: str) -> str:
    """Return a column name as SQL.

    Example::

        >>> print(quote('a "b"'))
        "a ""b\"""
    """
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | None) -> str:
    """Return a text as SQL.

    Example::

        >>> literal("it's")
        "'it''s'"
    """
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def is_number(kind: str) -> bool:
    """Return whether a DuckDB type is one of numbers; BOOLEAN is not.

    Example::

        >>> [is_number(kind) for kind in ("UBIGINT", "DECIMAL(9,2)", "DOUBLE[]", "BOOLEAN")]
        [True, True, False, False]
    """
    return kind in (*WHOLE_TYPES, *FRACTIONS) or (kind.startswith("DECIMAL") and not kind.endswith("]"))


def text(column: str | None, kind: str = "VARCHAR") -> str:
    """Return SQL for a column as text: a number without a fraction of zeros, NaN as NULL.

    Args:
        column: its name; NULL without one.
        kind: its DuckDB type.
    """
    if column is None:
        return "NULL::VARCHAR"
    name = quote(column)
    if kind in FRACTIONS:
        whole = f"isfinite({name}) AND {name} = trunc({name}) AND abs({name}) < 1e37"
        return (
            f"CASE WHEN isnan({name}) THEN NULL "
            f"WHEN {whole} THEN CAST(TRY_CAST({name} AS HUGEINT) AS VARCHAR) "
            f"ELSE CAST({name} AS VARCHAR) END"
        )
    if kind.startswith("DECIMAL") and is_number(kind):
        cast = f"CAST({name} AS VARCHAR)"
        return f"CASE WHEN contains({cast}, '.') THEN rtrim(rtrim({cast}, '0'), '.') ELSE {cast} END"
    if kind == "BLOB":
        return f"TRY(decode({name}))"
    return f"CAST({name} AS VARCHAR)"


def identity(column: str | None, kind: str = "VARCHAR") -> str:
    """Return SQL for a column as ids, by the rule of :func:`interactrank.core.ids.id_text`.

    Args:
        column: its name; NULL without one.
        kind: its DuckDB type.
    """
    if column is None or (kind not in ("VARCHAR", "BLOB") and not kind.startswith("ENUM")):
        return text(column, kind)
    return rf"nullif(regexp_replace({text(column, kind)}, '{WHOLE_TEXT}', '\1'), '')"


def number(column: str | None, kind: str = "DOUBLE") -> str:
    """Return SQL for a column as a finite number, NULL in rows that hold none; ``true`` in a text is 1.

    Args:
        column: its name; NULL without one.
        kind: its DuckDB type.
    """
    if column is None:
        return "NULL::DOUBLE"
    name = quote(column)
    value = f"TRY_CAST({name} AS DOUBLE)"
    if kind == "VARCHAR":
        value = f"coalesce({value}, TRY_CAST({name} AS BOOLEAN)::DOUBLE)"
    return value if kind in (*WHOLE_TYPES, "BOOLEAN") else f"CASE WHEN isfinite({value}) THEN {value} END"


def milliseconds(column: str, kind: str, unit_ms: float | None = None, elsewhere: str = "false") -> str:
    """Return SQL for a time column of any usual type as milliseconds since 1970; NULL if it is not a time.

    Args:
        column: its name.
        kind: its DuckDB type.
        unit_ms: milliseconds of a unit of its numbers; None if it holds none.
        elsewhere: SQL that says of a number, called ``{}``, that it must be of another unit.
    """
    name = quote(column)
    if kind.startswith(("TIMESTAMP", "DATE")):
        ms = f"epoch_ms(CAST({name} AS TIMESTAMP))"
    elif kind in ("VARCHAR", "BLOB"):
        value = text(column, kind)
        ms = f"epoch_ms(TRY_CAST({value} AS TIMESTAMPTZ))"  # a text may name its time zone; else UTC
        if unit_ms is not None:
            ms = f"coalesce({_counted(f'TRY_CAST({value} AS DOUBLE)', unit_ms, elsewhere)}, {ms})"
    elif kind in WHOLE_TYPES and unit_ms == 1:
        ms = f"CASE WHEN NOT ({elsewhere.replace('{}', name)}) THEN TRY_CAST({name} AS BIGINT) END"
    elif is_number(kind) and unit_ms is not None:
        ms = _counted(f"CAST({name} AS DOUBLE)", unit_ms, elsewhere)
    elif kind == '"NULL"' or is_number(kind):
        ms = "NULL::BIGINT"
    else:
        ms = f"TRY_CAST({name} AS BIGINT)"  # an error of DuckDB's that names the type
    return f"CASE WHEN {ms} BETWEEN {EARLIEST_MS} AND {LATEST_MS} THEN {ms} END"


def _counted(value: str, unit_ms: float, elsewhere: str) -> str:
    """Return SQL for a DOUBLE in units of ``unit_ms`` as whole milliseconds; NULL if it is too large."""
    scaled = f"round({value} * {unit_ms!r})"
    if unit_ms < 1:
        scaled = f"round({value} / {round(1 / unit_ms)})"
    wrong = elsewhere.replace("{}", value)
    return f"CASE WHEN isfinite({value}) AND NOT ({wrong}) THEN TRY_CAST({scaled} AS BIGINT) END"


def first_line(error: Exception) -> str:
    """Return what an error of DuckDB's says, without its drawing of the query."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
