"""The data files of a log: which there are, in which format, and what their folders are called.

Paths are names: nothing in them is a pattern, and folders lend no columns. The one exception is a folder
``column=value`` below the table's own, as Hive and Spark write them, for a column that its files do not have.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from interactrank.data.errors import DatasetError
from interactrank.data.raw.delta import live_files
from interactrank.data.raw.place import Entry, Place

__all__ = ["DataFile", "Format", "files_at", "find_files", "format_of", "has_table"]

Format = Literal["parquet", "csv", "tsv", "json"]

FORMATS: dict[str, Format] = {
    ".parquet": "parquet", ".parq": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
COMPRESSIONS = (".gz", ".zst")  # of text; Parquet compresses within
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class DataFile:
    """A file of a table.

    Args:
        place: the file system that it is in.
        path: its path there.
        format: how it is written.
        partitions: column -> value of the folders that it lies in, below the table's folder.
    """

    place: Place
    path: str
    format: Format
    partitions: dict[str, str | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its path as a user writes it."""
        return self.place.name_of(self.path)

    @property
    def for_duckdb(self) -> str:
        """Its path for DuckDB, which would read ``*``, ``?`` and ``[`` as a pattern."""
        return self.place.prefix + glob.escape(self.path)


def format_of(name: str) -> Format | None:
    """Return the format of a file by its name; None if that tells none.

    Example::

        >>> [format_of(n) for n in ("a.PARQUET", "part-0.snappy.parquet", "a.csv.gz", "a.gz", "notes.txt")]
        ['parquet', 'parquet', 'csv', None, None]
    """
    stem = name.lower()
    for compression in COMPRESSIONS:
        stem = stem.removesuffix(compression)
    found = FORMATS.get("." + stem.rpartition(".")[2]) if "." in stem else None
    return None if found == "parquet" and stem != name.lower() else found


def find_files(place: Place, name: str) -> list[DataFile]:
    """Return the files of the table ``events``, ``items`` or ``users`` of a log, in order of their paths.

    A table is one file (``events.parquet``, ``events.csv.gz``, ...) or one folder of files of one format
    (``events`` or, as Spark writes it, ``events.parquet``). What begins with ``_`` or ``.`` is not data.

    Raises:
        DatasetError: there is none, there are two, or a folder mixes formats.
    """
    if not place.is_folder():
        raise DatasetError(
            f"no folder '{place.name}'; --data names the folder with events.parquet and items.parquet"
        )
    inside = place.entries()
    found = [e for e in inside if _is_table(e, name)]
    if len(found) > 1:
        names = " and ".join(repr(e.name) for e in found)
        raise DatasetError(f"'{place.name}' has {names}: a table is one of them; remove the others")
    if not found:
        raise DatasetError(_none(place, name, inside))
    files = _files_of(place, found[0])
    if not files:
        raise DatasetError(f"{_none(place, name, inside)}; the folder {found[0].name}/ has no data file")
    return files


def has_table(place: Place, name: str) -> bool:
    """Return whether a log has a table of that name."""
    return place.is_folder() and any(_is_table(e, name) for e in place.entries())


def files_at(where: str | os.PathLike[str]) -> list[DataFile]:
    """Return the file of that path, or the data files of the folder.

    Raises:
        DatasetError: there is no such file, it is of an unknown format, or the folder has no data.
    """
    place = Place.of(where)
    files: list[DataFile] = []
    if place.is_folder():
        files = _files_of(place, Entry(place.path, True, 0))
    elif place.is_file() and (kind := format_of(place.path)) is not None:
        files = [DataFile(place, place.path, kind)]
    if not files:
        raise DatasetError(
            f"'{place.name}' is neither a file (.parquet, .csv, .tsv, .json, .jsonl) nor a folder with some"
        )
    return files


def _files_of(place: Place, entry: Entry) -> list[DataFile]:
    """Return a file, or the data files of a folder."""
    if not entry.is_folder:
        return [DataFile(place, entry.path, format_of(entry.name) or "parquet")]
    files = [f for e in place.entries(entry.path, recursive=True) if (f := _data_file(place, entry, e))]
    live = live_files(place, entry.path)
    files = files if live is None else [f for f in files if f.path in live]
    _refuse_a_mixture(files)
    return files


def _is_table(entry: Entry, name: str) -> bool:
    """Return whether an entry of a log's folder is the table of that name."""
    if entry.is_folder:
        return entry.name == name or (entry.name.startswith(f"{name}.") and format_of(entry.name) is not None)
    first = entry.name.partition(".")[0]
    return first == name and entry.name.count(".") <= 2 and format_of(entry.name) is not None


def _data_file(place: Place, root: Entry, entry: Entry) -> DataFile | None:
    """Return an entry below a table's folder as a file of it; None if it is not one."""
    *folders, last = entry.path[len(root.path) :].strip("/").split("/")
    hidden = any(part.startswith((".", "_")) and "=" not in part for part in folders)
    if entry.is_folder or hidden or last.startswith((".", "_")) or last.endswith(".crc"):
        return None
    kind = format_of(last)
    if kind is None and "." not in last and place.starts_with(entry.path, b"PAR1"):
        kind = "parquet"  # as Hive writes them: 000000_0
    if kind is None or (entry.size == 0 and kind != "parquet"):
        return None
    pairs = [part.partition("=") for part in folders if "=" in part]
    values = {unquote(k): None if v == NULL_PARTITION else unquote(v) for k, _, v in pairs}
    return DataFile(place, entry.path, kind, values)


def _refuse_a_mixture(files: list[DataFile]) -> None:
    other = next((f for f in files if f.format != files[0].format), None)
    if other is not None:
        raise DatasetError(
            f"'{files[0].name}' and '{other.name}' are of two formats; the files of a table have one"
        )


def _none(place: Place, name: str, inside: list[Entry]) -> str:
    found = ", ".join(e.name for e in inside[:8]) or "nothing"
    return (
        f"'{place.name}' has neither {name}.parquet (.csv, .tsv, .json, .jsonl; text also .gz, .zst) nor a "
        f"folder {name}/ of such files; it has {found}"
    )
