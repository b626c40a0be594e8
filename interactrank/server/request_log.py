"""The request log: what was served and what came back, as a raw log that ``prepare --append`` takes.

::

    FOLDER/events/*.parquet      complete; a folder for --data
    FOLDER/open/*.arrows         of a worker that runs; rows are there a moment after the answer

A worker that is killed leaves its open file; the next one that starts makes Parquet of its whole batches.
Rows that came back as events are written before they are acknowledged.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from interactrank.core.errors import UserError
from interactrank.core.files import atomic_write
from interactrank.data.extras import pa, pq
from interactrank.schema import SearchSchema
from interactrank.server.served_rows import SERVED, LogColumns

__all__ = ["RequestLog"]

logger = logging.getLogger(__name__)
_WRITE_S = 0.05
"""Seconds after which rows that were served are written."""
_MOST_WAITING = 10_000
"""Requests in memory, such as while the disk is full; later ones are dropped and counted."""
Rows = Callable[[], list[dict[str, Any]]]
Record = Callable[[list[dict[str, Any]]], object]


class RequestLog:
    """Writes the log of one worker.

    Args:
        folder: of the log; made if need be.
        schema: of the export.
        rotate_s: seconds after which an open file becomes Parquet.
        record: makes rows that were served count as impressions; None if they do not.

    Attributes:
        dropped: requests that could not be written.
    """

    def __init__(
        self, folder: Path, schema: SearchSchema, rotate_s: float = 600.0, record: Record | None = None
    ) -> None:
        self.folder, self.columns, self._rotate_s = folder, LogColumns(schema), rotate_s
        self.dropped, self._record = 0, record
        self._waiting: list[Rows] = []
        self._lock, self._file_lock, self._flushing = threading.Lock(), threading.Lock(), threading.Lock()
        self._open_file: _OpenFile | None = None
        (folder / "open").mkdir(parents=True, exist_ok=True)
        self.adopt()
        self._ends = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="request log", daemon=True)
        self._writer.start()

    def served(self, rows: Rows) -> None:
        """Take what was served, which the writing thread makes rows of, in a moment."""
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                self.dropped += 1
            else:
                self._waiting.append(rows)

    def came_back(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write events now.

        Raises:
            OSError: they cannot be written.
        """
        self._write(self.columns.came_back(events))

    def flush(self) -> None:
        """Write what waits; when it returns, that is written and counts, whichever thread did it.

        Raises:
            OSError: it cannot be written; it waits on.
        """
        with self._flushing:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        rows = [row for of in waiting for row in of()]
        try:
            self._write(rows)
        except OSError:
            with self._lock:
                self._waiting = [*waiting, *self._waiting]
            raise
        if self._record is not None:
            self._record([{k: v for k, v in row.items() if k not in SERVED} for row in rows])

    def rotate(self) -> None:
        """Make Parquet of the open file."""
        with self._file_lock:
            if self._open_file is not None:
                self._open_file.close()
                _to_parquet(self._open_file.path, self.folder)
                self._open_file.release()
                self._open_file = None

    def close(self) -> None:
        """Write what waits, and make Parquet of it."""
        self._ends.set()
        self._writer.join()
        self.flush()
        self.rotate()

    def adopt(self) -> int:
        """Make Parquet of what workers left that do not run any more; return how many files that were."""
        found = 0
        for path in sorted((self.folder / "open").glob("*.arrows")):
            try:
                with path.open("rb+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _to_parquet(path, self.folder)
                    found += 1
            except (BlockingIOError, FileNotFoundError):
                continue
        return found

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        batch = self.columns.batch(rows)
        with self._file_lock:
            if self._open_file is None:
                path = self.folder / "open" / f"{time.time_ns()}-{os.getpid()}.arrows"
                self._open_file = _OpenFile(path, self.columns.types)
            self._open_file.write(batch)

    def _write_on(self) -> None:
        while not self._ends.wait(_WRITE_S):
            try:
                self.flush()
                if self._open_file is not None and self._open_file.age > self._rotate_s:
                    self.rotate()
            except (OSError, UserError) as error:
                logger.error("the request log cannot be written, it is tried again: %s", error)
                self._ends.wait(1.0)


class _OpenFile:
    """A stream of batches; each is whole or not at all, also after a write that failed."""

    def __init__(self, path: Path, types: Any) -> None:
        self.path, self._since = path, time.monotonic()
        self._file = path.open("ab", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._types = types

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._since

    def write(self, batch: Any) -> None:
        """Add a batch as a stream of its own, behind its length."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._types) as writer:
            writer.write_batch(batch)
        data: bytes = sink.getvalue().to_pybytes()
        size = os.fstat(self._file.fileno()).st_size
        data = len(data).to_bytes(8, "little") + data
        try:
            if os.write(self._file.fileno(), data) < len(data):
                raise OSError(28, "No space left on device", str(self.path))
        except OSError:
            os.ftruncate(self._file.fileno(), size)
            raise

    def close(self) -> None:
        """Flush it to disk."""
        os.fsync(self._file.fileno())

    def release(self) -> None:
        """Let others have it."""
        self._file.close()


def _streams(path: Path) -> Iterator[Any]:
    """Yield the whole batches of an open file."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            data = file.read(int.from_bytes(head, "little"))
            if len(data) < int.from_bytes(head, "little"):
                return
            yield pa.ipc.open_stream(data).read_all()


def _to_parquet(path: Path, folder: Path) -> None:
    """Replace an open file by Parquet of the same rows; a crash between the two does it again."""
    tables = list(_streams(path))
    if tables:
        table = pa.concat_tables(tables)
        atomic_write(folder / "events" / f"{path.stem}.parquet", lambda p: pq.write_table(table, p))
    path.unlink()
