"""Place: a folder of a log on this machine or in a remote store, through Arrow's file systems."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb, pa, pafs

__all__ = ["Entry", "Place"]

PROTOCOL = "arrowfs"
"""Under this name DuckDB reads files through an Arrow file system."""


@dataclass(frozen=True)
class Entry:
    """A file or folder.

    Args:
        path: on its file system.
        is_folder: whether it is a folder.
        size: bytes of a file.
    """

    path: str
    is_folder: bool
    size: int

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Place:
    """A folder.

    Args:
        fs: Arrow file system.
        path: of the folder on it.
        name: as the user wrote it.
        remote: whether DuckDB must read through ``fs``.
    """

    fs: Any
    path: str
    name: str
    remote: bool

    @classmethod
    def of(cls, where: str | os.PathLike[str]) -> Place:
        """Return the place of a path, or of a URI such as ``s3://bucket/log``.

        Raises:
            DatasetError: the URI's file system is unknown or cannot be reached.
        """
        name = str(where)
        if "://" not in name:
            return cls(pafs.LocalFileSystem(), os.path.abspath(where), str(Path(where)), remote=False)
        try:
            try:
                fs, path = pafs.FileSystem.from_uri(name)
            except pa.ArrowInvalid:  # not one of Arrow's own; fsspec knows more, such as abfs and memory
                other, path = require("fsspec.core", extra="data").url_to_fs(name)
                fs = pafs.PyFileSystem(pafs.FSSpecHandler(other))
        except (ValueError, OSError, ImportError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise DatasetError(f"'{name}': {reason}; Arrow reads file, s3, gs and hdfs") from None
        return cls(fs, path, name, remote=not isinstance(fs, pafs.LocalFileSystem))

    @property
    def prefix(self) -> str:
        """What stands before a path for DuckDB."""
        return f"{PROTOCOL}://" if self.remote else ""

    def name_of(self, path: str) -> str:
        """Return a path below the folder as the user would write it."""
        root = self.path.rstrip("/")
        return self.name.rstrip("/") + path[len(root) :] if path.startswith(root) else path

    def is_folder(self) -> bool:
        """Return whether there is such a folder."""
        return bool(self._info(self.path).type == pafs.FileType.Directory)

    def is_file(self) -> bool:
        """Return whether it is a file."""
        return bool(self._info(self.path).type == pafs.FileType.File)

    def entries(self, folder: str | None = None, *, recursive: bool = False) -> list[Entry]:
        """Return what is in a folder, in order of the paths."""
        selector = pafs.FileSelector(folder or self.path, recursive=recursive)
        try:
            found = self.fs.get_file_info(selector)
        except OSError as error:
            raise DatasetError(f"cannot list '{self.name_of(folder or self.path)}': {error}") from None
        entries = [Entry(i.path, i.type == pafs.FileType.Directory, i.size or 0) for i in found]
        return sorted(entries, key=lambda e: e.path)

    def starts_with(self, path: str, magic: bytes) -> bool:
        """Return whether a file begins with some bytes."""
        with self.fs.open_input_stream(path) as file:
            return bool(file.read(len(magic)) == magic)

    def read(self, path: str) -> bytes:
        """Return the content of a small file."""
        with self.fs.open_input_stream(path) as file:
            return bytes(file.read())

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file as 64 hexadecimal digits; it is read block by block."""
        digest = hashlib.sha256()
        with self.fs.open_input_stream(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def attach(self, db: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read the files; on this machine it can already."""
        if self.remote and not db.filesystem_is_registered(PROTOCOL):
            db.register_filesystem(self._wrapped)

    @cached_property
    def _wrapped(self) -> Any:
        wrapper = require("fsspec.implementations.arrow", extra="data").ArrowFSWrapper

        class Arrow(wrapper):  # type: ignore[misc, valid-type]
            """An Arrow file system under one protocol, whatever its type."""

            protocol = PROTOCOL

            @classmethod
            def _strip_protocol(cls, path: Any) -> Any:
                return str(path).removeprefix(f"{PROTOCOL}://")

            def modified(self, path: str) -> datetime:
                """Return when a file was changed; 1970 if its store does not say."""
                return super().modified(path) or datetime.fromtimestamp(0, timezone.utc)

        return Arrow(self.fs)

    def _info(self, path: str) -> Any:
        try:
            return self.fs.get_file_info(path)
        except OSError as error:
            raise DatasetError(f"cannot read '{self.name}': {error}") from None
