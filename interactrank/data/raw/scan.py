"""Scans: SQL that reads files of one format which have the same columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb, pq
from interactrank.data.raw.files import DataFile
from interactrank.data.raw.sql import first_line, literal, quote

__all__ = ["Scan", "scans"]

DELIMITERS = {"csv": "", "tsv": r", delim = '\t'"}


@dataclass(frozen=True)
class Scan:
    """Some files of a table that have the same columns and types.

    Args:
        files: the files.
        sql: what stands behind FROM to read them.
        types: column -> DuckDB type, by the names that the files have.
        twice: column -> the names of the files that differ from it only in case, or not at all.
    """

    files: list[DataFile]
    sql: str
    types: dict[str, str]
    twice: dict[str, list[str]] = field(default_factory=dict)


def scans(db: duckdb.DuckDBPyConnection, files: list[DataFile], wanted: set[str] | None) -> list[Scan]:
    """Return the scans of a table's files.

    Args:
        db: what will read them.
        files: of one format.
        wanted: columns that a folder ``column=value`` may lend; None: all.

    Raises:
        DatasetError: a file cannot be read.
    """
    found = []
    for names, lent, group in _grouped(db, files, wanted):
        source = _source(db, group)
        types = _types(db, group, source)
        twice = _twice(names) if names else {}
        real = dict(zip(names or types, types.values(), strict=False))
        known = {name: kind for name, kind in real.items() if name not in twice}
        if lent:
            columns = "".join(f", {literal(value)}::VARCHAR AS {quote(c)}" for c, value in lent)
            source = f"(SELECT *{columns} FROM {source})"
            known |= {c: "VARCHAR" for c, _ in lent}
        found.append(Scan(group, source, known, twice))
    return found


Lent = tuple[tuple[str, str | None], ...]


def _grouped(
    db: duckdb.DuckDBPyConnection, files: list[DataFile], wanted: set[str] | None
) -> Iterator[tuple[tuple[str, ...], Lent, list[DataFile]]]:
    """Yield names of columns, lent columns and files of each group, in order of their first files."""
    groups: dict[tuple[object, tuple[str, ...], Lent], list[DataFile]] = {}
    for file in files:
        if file.format == "parquet":
            fields, names = _parquet_columns(file)
        elif file.format == "json":
            fields = names = ()  # a line has the columns that it needs
        else:
            fields = names = _header(db, file)
        own = {name.lower() for name in names}
        lent = tuple(
            (c, v)
            for c, v in file.partitions.items()
            if c.lower() not in own and (wanted is None or c in wanted)
        )
        groups.setdefault((fields, names, lent), []).append(file)
    for (_, names, lent), group in groups.items():
        yield names, lent, group


def _parquet_columns(file: DataFile) -> tuple[object, tuple[str, ...]]:
    try:
        with file.place.fs.open_input_file(file.path) as source:
            found = pq.read_schema(source)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        reason = (str(error).splitlines() or ["it is empty"])[0]
        raise DatasetError(f"cannot read '{file.name}': {reason}") from None
    return tuple((f.name, str(f.type)) for f in found), tuple(found.names)


def _header(db: duckdb.DuckDBPyConnection, file: DataFile) -> tuple[str, ...]:
    """Return the first line of a CSV or TSV file."""
    try:
        source = f"read_csv({literal(file.for_duckdb)}, header = false, {_options(file)})"
        row = db.execute(f"SELECT * FROM {source} LIMIT 1").fetchone()
    except duckdb.Error as error:
        raise DatasetError(f"cannot read '{file.name}': {first_line(error)}") from None
    if row is None:
        raise DatasetError(f"cannot read '{file.name}': it has no header, a first line with column names")
    return tuple("" if name is None else str(name) for name in row)


def _source(db: duckdb.DuckDBPyConnection, files: list[DataFile]) -> str:
    paths = "[" + ", ".join(literal(f.for_duckdb) for f in files) + "]"
    kind = files[0].format
    if kind == "parquet":
        return f"read_parquet({paths}, hive_partitioning = false, binary_as_string = true)"
    if kind == "json":
        return _json(db, files, paths)
    return _with_lists(db, files, f"read_csv({paths}, header = true, {_options(files[0])})")


def _options(file: DataFile) -> str:
    return f"all_varchar = true, hive_partitioning = false{DELIMITERS[file.format]}"


def _types(db: duckdb.DuckDBPyConnection, files: list[DataFile], source: str) -> dict[str, str]:
    try:
        return {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    except duckdb.Error as error:
        raise DatasetError(f"cannot read '{files[0].name}': {first_line(error)}") from None


def _json(db: duckdb.DuckDBPyConnection, files: list[DataFile], paths: str) -> str:
    """Read JSON with the types of all lines; a column of several types is text."""
    every = "sample_size = -1, maximum_sample_files = 1000000, union_by_name = true"
    types = _types(db, files, f"read_json({paths}, {every}, hive_partitioning = false)")
    columns = ", ".join(f"{literal(c)}: {literal(kind)}" for c, kind in types.items())
    mixed = [f"{quote(c)} ->> '$' AS {quote(c)}" for c, kind in types.items() if kind == "JSON"]
    source = f"read_json({paths}, columns = {{{columns}}}, hive_partitioning = false)"
    return f"(SELECT * REPLACE ({', '.join(mixed)}) FROM {source})" if mixed else source


def _with_lists(db: duckdb.DuckDBPyConnection, files: list[DataFile], source: str) -> str:
    """Read as lists the columns of a text file whose values are all written ``[...]``."""
    columns = list(_types(db, files, source))
    where = " OR ".join(f"{quote(c)} LIKE '[%'" for c in columns)
    tests = ", ".join(
        f"count({name}), count(TRY_CAST({name} AS VARCHAR[])) FILTER ({name} LIKE '[%]'), "
        f"count(*) FILTER ({_known(name, 'DOUBLE')} = {_known(name, 'VARCHAR')})"
        for name in map(quote, columns)
    )
    try:
        if db.execute(f"SELECT 1 FROM {source} WHERE {where} LIMIT 1").fetchone() is None:
            return source
        found = db.execute(f"SELECT {tests} FROM {source}").fetchone()
    except duckdb.Error as error:
        raise DatasetError(f"cannot read '{files[0].name}': {first_line(error)}") from None
    lists = [
        f"CAST({quote(c)} AS {'DOUBLE' if numbers == known else 'VARCHAR'}[]) AS {quote(c)}"
        for c, known, texts, numbers in zip(columns, found[::3], found[1::3], found[2::3], strict=True)
        if known and texts == known
    ]
    return f"(SELECT * REPLACE ({', '.join(lists)}) FROM {source})" if lists else source


def _known(column: str, kind: str) -> str:
    """Return SQL for how many elements of a list written as text are of a kind."""
    return f"list_aggregate(TRY_CAST({column} AS {kind}[]), 'count')"


def _twice(names: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the columns that DuckDB, which ignores case, cannot tell apart."""
    by_lower: dict[str, list[str]] = {}
    for name in names:
        by_lower.setdefault(name.lower(), []).append(name)
    return {name: same for same in by_lower.values() if len(same) > 1 for name in same}
