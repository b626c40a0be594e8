"""LocalLog: an append-only log of events in a folder, which several processes of one machine may share.

::

    events-POSITION.log   frames, one after the other; POSITION is that of its first byte in the whole log
    end                   8 bytes: how much of the log is on disk, mapped by all processes
    lock                  held by the process that writes
    marks.json            histories of an export -> where the log ended when they were first opened with it

A write is flushed to disk before it is acknowledged; writes that wait for each other share one flush. What a
killed process left behind its last whole frame is cut by whoever opens the log, or writes, next.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from interactrank.core.files import atomic_write_text, fsync
from interactrank.serving.fresh.errors import EventLogError
from interactrank.serving.fresh.frames import frame, frames_in

__all__ = ["SEGMENT_BYTES", "LocalLog"]

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 64 << 20
READ_BYTES = 4 << 20
PREFIX, SUFFIX = "events-", ".log"


class _Write:
    """A payload that waits to be written; ``done`` with or without an ``error``."""

    def __init__(self, payload: bytes) -> None:
        self.frame, self.done = frame(payload), False
        self.error: BaseException | None = None
        self.stop = 0


class LocalLog:
    """Appends and reads; threads may share it.

    Args:
        folder: of the log; made if need be.
        segment_bytes: from which on a segment is followed by another.

    Raises:
        EventLogError: the folder cannot be written, or an acknowledged record is damaged.
    """

    start = 0

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder, self._segment_bytes = folder, segment_bytes
        self._queue: list[_Write] = []
        self._queued, self._commit, self._own = threading.Lock(), threading.Lock(), threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            with self._locked():
                path = folder / "end"
                if not path.exists() or path.stat().st_size != 8:
                    path.write_bytes(bytes(8))
                self._end: Any = np.memmap(path, "<i8", "r+", shape=(1,))
                self._recover(whole=True)
        except OSError as error:
            raise _refusal(folder, "opened", error) from error

    @property
    def end(self) -> int:
        """How much of the log is on disk: the position behind the last record."""
        return int(self._end[0])

    def append(self, payload: bytes) -> int:
        """Write a record and return the position behind it, when it is on disk.

        Raises:
            EventLogError: it cannot be written, such as to a full disk; the log is as it was.
        """
        own = _Write(payload)
        with self._queued:
            self._queue.append(own)
        with self._commit:
            if not own.done:  # else the thread before wrote it with its own
                with self._queued:
                    writes, self._queue = self._queue, []
                self._write_all(writes)
        if own.error is not None:
            raise _refusal(self.folder, "written; the events count nowhere", own.error) from own.error
        return own.stop

    def read(self, position: int) -> Iterator[tuple[bytes, int]]:
        """Yield the records from a position on, each with the position behind it, up to :attr:`end`.

        Raises:
            EventLogError: the records there were cut off, or are damaged.
        """
        stop = self.end
        while position < stop:
            path, first, last = self._segment_of(position)
            last = min(last, stop)
            with path.open("rb") as file:
                while position < last:
                    file.seek(position - first)
                    data = file.read(min(READ_BYTES, last - position))
                    at = 0
                    for payload, at in frames_in(data):
                        yield payload, position + at
                    if not at:  # one frame is larger than what is read at a time
                        file.seek(position - first)
                        for payload, at in frames_in(file.read(last - position)):
                            yield payload, position + at
                            break
                    if not at:
                        raise _damaged(path, position - first)
                    position += at

    def mark(self, histories: str) -> int:
        """Return where the log ended when the histories of an export were first opened with it."""
        with self._locked():
            path = self.folder / "marks.json"
            marks = json.loads(path.read_text()) if path.exists() else {}
            if histories not in marks:
                marks[histories] = self.end
                atomic_write_text(path, json.dumps(marks, indent=1) + "\n")
        return int(marks[histories])

    def follow(self, catch_up: Callable[[], None]) -> None:
        """Do nothing: what other processes wrote is seen at :attr:`end`."""

    def truncate(self, position: int) -> int:
        """Delete the segments that end at a position or before it; return how many there were."""
        with self._locked():
            segments = self._segments()
            covered = [path for (path, _), (_, stop) in pairwise(segments) if stop <= position]
            for path in covered:
                path.unlink()
            fsync(self.folder)
        return len(covered)

    def first(self) -> int:
        """Return the position of the first record that is still there."""
        segments = self._segments()
        return segments[0][1] if segments else self.end

    def _write_all(self, writes: list[_Write]) -> None:
        try:
            with self._locked():
                self._recover()
                self._write(writes)
        except BaseException as error:
            for write in writes:
                write.error = error
            if not isinstance(error, OSError):
                raise
        finally:
            for write in writes:
                write.done = True

    def _write(self, writes: list[_Write]) -> None:
        end = self.end
        segments = self._segments()
        path, first = segments[-1] if segments else (self._path(end), end)
        if end - first >= self._segment_bytes:
            path, first = self._path(end), end
        new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            at = end - first
            try:
                for write in writes:
                    at = _write_at(descriptor, write.frame, at)
                    write.stop = first + at
                os.fdatasync(descriptor)
                if new:
                    fsync(self.folder)
            except OSError:
                os.ftruncate(descriptor, end - first)  # no part of it may be taken for a record
                raise
        finally:
            os.close(descriptor)
        self._end[0] = first + at

    def _recover(self, whole: bool = False) -> None:
        """Count whole frames behind the end, which a killed process left, and cut what is none.

        Args:
            whole: check all of the last segment.
        """
        segments = self._segments()
        if not segments:
            self._end[0] = max(self.end, 0)
            return
        path, first = segments[-1]
        size = path.stat().st_size
        if not whole and first + size == self.end:
            return
        data = path.read_bytes()
        known = self.end - first
        at = 0 if whole or not 0 <= known <= size else known
        for _, stop in frames_in(data, at):
            at = stop
        if at < min(known, size):
            raise _damaged(path, at)
        if at < size:
            logger.warning("'%s': cut %d bytes of a record that was not finished", path, size - at)
            os.truncate(path, at)
            fsync(path)
        self._end[0] = first + at

    def _path(self, position: int) -> Path:
        return self.folder / f"{PREFIX}{position:020d}{SUFFIX}"

    def _segments(self) -> list[tuple[Path, int]]:
        """Return the segments with their positions, in order."""
        found = [n for n in os.listdir(self.folder) if n.startswith(PREFIX) and n.endswith(SUFFIX)]
        return [(self.folder / n, int(n[len(PREFIX) : -len(SUFFIX)])) for n in sorted(found)]

    def _segment_of(self, position: int) -> tuple[Path, int, int]:
        """Return the segment that has a position, and where it begins and ends."""
        segments = self._segments()
        for n, (path, first) in reversed(list(enumerate(segments))):
            if first <= position:
                return path, first, segments[n + 1][1] if n + 1 < len(segments) else self.end
        raise EventLogError(
            f"'{self.folder}' begins at {segments[0][1] if segments else self.end}; its records from "
            f"{position} on were deleted, as a newer export has them; open that export"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._own:  # threads of this process; the file's lock is for other processes
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)


def _write_at(descriptor: int, data: bytes, at: int) -> int:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
    return at


def _refusal(folder: Path, what: str, error: BaseException) -> EventLogError:
    if not isinstance(error, OSError) or isinstance(error, EventLogError):
        return EventLogError(str(error) or type(error).__name__)
    remedy = (
        "make room and send them again" if error.errno == errno.ENOSPC else "check the disk and its rights"
    )
    return EventLogError(f"the log '{folder}' cannot be {what} ({error.strerror or error}); {remedy}")


def _damaged(path: Path, at: int) -> EventLogError:
    return EventLogError(
        f"'{path}' is damaged at byte {at}: a record that was acknowledged has another checksum; copy the "
        "log back from a backup, or move it away and export again"
    )
