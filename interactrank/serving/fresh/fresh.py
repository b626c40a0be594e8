"""Fresh: the histories of an export as of now: what is recorded is kept, then it counts.

A row counts when it is in the log: the process that recorded it applies it before it acknowledges it, others
that share the log read it from there, in the same order, so that all of them end equal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from interactrank.serving.errors import RequestError
from interactrank.serving.fresh.delta import Delta, Histories
from interactrank.serving.fresh.errors import EventLogError
from interactrank.serving.fresh.event_log import EventLog
from interactrank.serving.fresh.frames import decode, encode
from interactrank.serving.fresh.rows import EventReader, EventRows, now_ms, some_rows

__all__ = ["Fresh", "RecordResult"]

logger = logging.getLogger(__name__)

REPLAY_ROWS = 20_000  # rows that count together while a log is read


@dataclass(frozen=True)
class RecordResult:
    """What became of events.

    Attributes:
        events: rows that count from now on.
        unknown: ids of items that the catalogue does not have; their rows were ignored.
    """

    events: int
    unknown: list[str]


class Fresh:
    """Records events; threads may share it.

    Args:
        delta: on the histories of the export.
        reader: of rows.
        log: keeps the events; None keeps them for as long as this process lives.
        histories: names those of the export; versions with other models or items may share them.
        event_time: milliseconds of the last event that the export has.
        unknown_items: ``skip`` ignores rows of items that the catalogue does not have and names them.
    """

    def __init__(
        self,
        delta: Delta,
        reader: EventReader,
        log: EventLog | None,
        *,
        histories: str,
        event_time: int,
        unknown_items: Literal["skip", "error"] = "skip",
    ) -> None:
        self._delta, self._reader, self.log = delta, reader, log
        self._event_time, self._unknown_items = event_time, unknown_items
        self._lock = threading.Lock()
        self._own: dict[Any, EventRows] = {}
        self._compacting = False
        self._position = None if log is None else log.first()
        self._mark = None if log is None else log.mark(histories)
        self._covered, self._all_covered = self._position, True  # up to where the export has all
        self.catch_up()
        if log is not None:
            log.follow(self.catch_up)

    def histories(self) -> Histories:
        """Return the histories with all that was recorded so far, by whichever process.

        If the log cannot be read, that is logged, and what was read before counts.
        """
        if self.log is not None and self.log.end != self._position:
            try:
                self.catch_up()
            except EventLogError as error:
                logger.warning("%s", error)
        return self._delta.histories

    def record(self, rows: Sequence[Mapping[str, Any]]) -> RecordResult:
        """Keep rows, then make them count.

        Args:
            rows: see :class:`EventReader`.

        Raises:
            RequestError: a row cannot be read, or with ``unknown_items="error"`` has an unknown item; names
                the row. No row of the call counts.
            EventLogError: they cannot be kept. No row of the call counts.
        """
        if isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows):
            raise RequestError("events are a list of mappings, one for each row of the log's events file")
        columns = self._reader.columns(rows)
        found = self._reader.read(columns, now_ms())
        if found.unknown and self._unknown_items == "error":
            n = next(n for n, item in enumerate(found.item) if item < 0)
            raise RequestError(
                f"event {n}: the catalogue has no item '{found.unknown[0]}' ({len(found.unknown)} unknown "
                "items in all)"
            )
        kept = [n for n, item in enumerate(found.item) if item >= 0]
        if len(kept) < len(found.item):
            columns = {name: [values[n] for n in kept] for name, values in columns.items()}
            found = replace(some_rows(found, kept), unknown=found.unknown)
        if kept:
            if self.log is None:
                with self._lock:
                    self._count(found)
            else:
                position = self.log.append(encode(columns))
                self._own[position] = found  # so that it is read once
                try:
                    self.catch_up()
                finally:
                    self._own.pop(position, None)
        return RecordResult(len(kept), found.unknown)

    def catch_up(self) -> None:
        """Make count what the log has and this process has not read."""
        if self.log is None:
            return
        with self._lock:
            waiting: list[EventRows] = []
            position, end = self._position, self.log.end
            for payload, position in self.log.read(self._position):
                waiting.append(self._read(payload, position))
                if sum(len(rows.item) for rows in waiting) >= REPLAY_ROWS:
                    self._add(waiting, position)
                    waiting = []
            self._add(waiting, max(position, end))  # what was not there up to the end has been deleted

    def truncate(self) -> int:
        """Delete the part of the log that the export has; return how many segments (or records) that was.

        An older export, or another one that ends earlier, then lacks these events.
        """
        return 0 if self.log is None else self.log.truncate(self._covered)

    def compact(self) -> None:
        """Merge runs until they fall in size, while others record and read; a thread does it when due."""
        while True:
            with self._lock:
                what = self._delta.due()
                self._compacting = what is not None
            if what is None:
                return
            run = what.run()
            with self._lock:
                self._delta.merge(what, run)

    def _add(self, waiting: list[EventRows], position: Any) -> None:
        if waiting:
            self._count(EventRows.together(waiting))
        self._position = position

    def _count(self, rows: EventRows) -> None:
        self._delta.add(rows)
        if not self._compacting and self._delta.due() is not None:
            self._compacting = True
            threading.Thread(target=self.compact, name="compaction of events", daemon=True).start()

    def _read(self, payload: bytes, position: Any) -> EventRows:
        """Return the rows of a record that the export does not have."""
        rows = self._own.get(position)
        if rows is not None:
            return rows
        try:
            rows = self._reader.read(self._reader.checked(decode(payload)))
        except (RequestError, ValueError) as error:
            logger.warning("the events before %s of the log do not count: %s", position, error)
            return EventRows.none()
        late = [n for n, time in enumerate(rows.time) if time <= self._event_time]
        if position > self._mark:
            self._all_covered = False
            return rows
        if late:  # the export has them
            rows = some_rows(rows, [n for n, time in enumerate(rows.time) if time > self._event_time])
        self._all_covered = self._all_covered and not rows.item
        if self._all_covered:
            self._covered = position
        return rows
