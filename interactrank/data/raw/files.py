"""The Parquet files of a log and their columns."""

from __future__ import annotations

from pathlib import Path

from interactrank.core.settings import near
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.sql import first_line

__all__ = ["columns_of", "find_parquet"]


def find_parquet(log: Path, name: str) -> list[str]:
    """Return the Parquet files of ``events``, ``items`` or ``users``: one file, or those of a folder.

    Raises:
        DatasetError: there are none.
    """
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


def columns_of(db: duckdb.DuckDBPyConnection, files: list[str], wanted: list[str]) -> dict[str, str]:
    """Return column -> DuckDB type of the files.

    Raises:
        DatasetError: a file cannot be read, or has not all the wanted columns.
    """
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
