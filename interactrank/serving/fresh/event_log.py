"""EventLog: what keeps events before they are acknowledged, in an order that all readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from interactrank.serving.fresh.errors import EventLogError
from interactrank.serving.fresh.local_log import LocalLog
from interactrank.serving.fresh.redis_log import RedisLog

__all__ = ["EventLog", "open_log"]


class EventLog(Protocol):
    """Records in order. A position lies between two records; those of one log can be compared."""

    @property
    def end(self) -> Any:
        """The position behind the last record."""

    def append(self, payload: bytes) -> Any:
        """Keep a record, and return the position behind it when no crash can lose it."""

    def read(self, position: Any) -> Iterator[tuple[bytes, Any]]:
        """Yield the records behind a position, each with the position behind it."""

    def first(self) -> Any:
        """Return the position before the first record that is still there."""

    def mark(self, histories: str) -> Any:
        """Return where the log ended when the histories of an export were first opened with it."""

    def follow(self, catch_up: Callable[[], None]) -> None:
        """Call a method when others have added records, if the log does not know of them at once."""

    def truncate(self, position: Any) -> int:
        """Delete what lies before a position, as far as it goes; return how much that was."""


def open_log(events: str | Path) -> EventLog:
    """Open a folder as a log, or a Redis stream: ``redis://host:port/stream-name``.

    Raises:
        EventLogError: it cannot be opened.
        MissingExtraError: it is a stream, and redis-py is not installed.
    """
    text = str(events)
    if text.startswith(("redis://", "rediss://")):
        return RedisLog(text)
    if "://" in text:
        raise EventLogError(f"'{text}' is neither a folder nor redis://host:port/stream-name")
    return LocalLog(Path(events))
