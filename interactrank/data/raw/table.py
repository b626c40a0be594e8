"""RawTable: the files of a log's table as one relation, with each file's own columns and types.

Files that have the same columns and types are a group. An expression is written for each group by its types,
and the groups are put together, so that integers, fractions, text and nulls of a column keep what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from interactrank.core.settings import near
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.files import DataFile, find_files
from interactrank.data.raw.place import Place
from interactrank.data.raw.scan import Scan, scans
from interactrank.data.raw.sql import first_line, is_number, quote, text

__all__ = ["RawTable"]

Types = Mapping[str, str]

TRUST_NO_STATISTICS = "SET disabled_optimizers = 'statistics_propagation'"
"""A Parquet file's minimum and maximum leave NaN out: by them DuckDB 2.0 holds isnan() to be false."""


@dataclass(frozen=True)
class RawTable:
    """A table of a log, opened.

    Args:
        name: ``events``, ``items`` or ``users``.
        files: its data files.
        groups: the scans of files with the same columns and types, in order of their first files.
        types: column -> DuckDB type of the column in all groups together.
    """

    name: str
    files: list[DataFile]
    groups: list[Scan]
    types: dict[str, str]

    @classmethod
    def open(
        cls, db: duckdb.DuckDBPyConnection, place: Place, name: str, wanted: Iterable[str] | None = None
    ) -> RawTable:
        """Find the files of a log's table and look at their columns.

        Args:
            db: what will read them.
            place: the log's folder.
            name: of the table.
            wanted: columns that each file must have; None: those that all files have.

        Raises:
            DatasetError: there are no files, or see :meth:`of`.
        """
        return cls.of(db, find_files(place, name), name, wanted)

    @classmethod
    def of(
        cls,
        db: duckdb.DuckDBPyConnection,
        files: list[DataFile],
        name: str,
        wanted: Iterable[str] | None = None,
    ) -> RawTable:
        """Look at the columns of some files, at least one; see :meth:`open`.

        Raises:
            DatasetError: one cannot be read or lacks a wanted column, or a wanted column is there twice.
        """
        files[0].place.attach(db)
        db.execute(TRUST_NO_STATISTICS)
        groups = scans(db, files, None if wanted is None else set(wanted))
        if wanted is None:
            columns = [c for c in groups[0].types if all(c in g.types for g in groups)]
        else:
            columns = list(dict.fromkeys(wanted))
            for group in groups:
                _require(group, columns)
        for column in columns:
            _refuse_lists_and_values(groups, column)
        table = cls(name, files, groups, {})
        if not columns:
            return table
        sql = table.rows(columns)
        try:
            described = db.execute(f"DESCRIBE {sql}").fetchall()
        except duckdb.Error as error:
            raise DatasetError(f"cannot read '{files[0].name}': {first_line(error)}") from None
        return cls(name, files, groups, {c: row[1] for c, row in zip(columns, described, strict=True)})

    @property
    def first(self) -> str:
        """Name of the first file, for messages."""
        return self.files[0].name

    def select(self, columns: Callable[[Types], list[str]]) -> str:
        """Return a query of all rows, in order of the groups and their files.

        Args:
            columns: returns SQL for each column of a group of files, by the group's types.
        """
        return " UNION ALL ".join(f"SELECT {', '.join(columns(g.types))} FROM {g.sql}" for g in self.groups)

    def numbered(self, columns: Callable[[Types], list[str]]) -> str:
        """Return the query of :meth:`select` with a column ``row``, which ascends from row to row.

        Those of Parquet files come from the places of the rows, which all cores find at once, and leave gaps.
        """
        plain = all(g.sql.startswith("read_parquet(") and len(g.files) < 1 << 18 for g in self.groups)
        if not plain or len(self.groups) > 256:  # other formats, a column that a folder lends, too many files
            return self.counted(columns)
        place = "((({}::BIGINT << 18) + file_index::BIGINT) << 36) + file_row_number AS row"
        return " UNION ALL ".join(
            f"SELECT {', '.join([place.format(n), *columns(g.types)])} FROM {g.sql}"
            for n, g in enumerate(self.groups)
        )

    def counted(self, columns: Callable[[Types], list[str]]) -> str:
        """Return the query of :meth:`select` with a column ``row``, which counts from 1; by one core."""
        return f"SELECT row_number() OVER () AS row, f.* FROM ({self.select(columns)}) f"

    def rows(self, columns: Iterable[str]) -> str:
        """Return a query of some columns of all rows, as they are."""
        return self.select(lambda types: [self.value(c, types) for c in columns])

    def value(self, column: str, types: Types, alias: str | None = None) -> str:
        """Return SQL for a column as it is in a group; as text where it is text in another group."""
        kind = types[column]
        value = quote(column)
        if kind == "BLOB" or (column in self._mixed and (is_number(kind) or kind == "BOOLEAN")):
            value = text(column, kind)
        return f"{value} AS {quote(alias or column)}"

    @cached_property
    def _mixed(self) -> set[str]:
        """Columns that are text in some files and something else in others."""
        kinds: dict[str, set[str]] = {}
        for group in self.groups:
            for column, kind in group.types.items():
                kinds.setdefault(column, set()).add(kind)
        return {c for c, k in kinds.items() if len(k) > 1 and k & {"VARCHAR", "BLOB"}}


def _require(group: Scan, columns: list[str]) -> None:
    """Refuse a group that lacks a column, or has one twice."""
    file = group.files[0].name
    missing = [c for c in columns if c not in group.types and c not in group.twice]
    if missing:
        hints = "; ".join(f"no column '{c}'{_near(c, group)}" for c in missing)
        raise DatasetError(f"'{file}': {hints} (the schema names it)")
    for column in columns:
        if column in group.twice:
            names = ", ".join(repr(n) for n in group.twice[column])
            raise DatasetError(
                f"'{file}': the columns {names} differ only in case or not at all, so '{column}' is not one "
                "column; rename or remove the others"
            )


def _near(column: str, group: Scan) -> str:
    other_case = next((name for name in group.types if name.lower() == column.lower()), None)
    return near(column, group.types) if other_case is None else f"; did you mean '{other_case}'?"


def _refuse_lists_and_values(groups: list[Scan], column: str) -> None:
    known = [g for g in groups if g.types[column] != '"NULL"']
    lists = next((g for g in known if g.types[column].endswith("]")), None)
    values = next((g for g in known if not g.types[column].endswith("]")), None)
    if lists is not None and values is not None:
        raise DatasetError(
            f"column '{column}' holds {lists.types[column]} in '{lists.files[0].name}' and "
            f"{values.types[column]} in '{values.files[0].name}'; write lists in all files or in none"
        )
