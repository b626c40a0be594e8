"""RedisLog: a log of events in a Redis stream, which replicas on several machines share.

A record is an entry of the stream; a position is the id of one, such as ``1704067200000-0``. A record is
acknowledged when Redis has it, and as safe as Redis keeps it: set ``appendonly yes`` and
``appendfsync always`` for what a crash of Redis must not lose. A thread waits for entries of other replicas
and hands them on, so that they count before the next request asks.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from interactrank.core.extras import require
from interactrank.serving.fresh.errors import EventLogError

__all__ = ["RedisLog"]

logger = logging.getLogger(__name__)

FIELD = b"events"
READ_ENTRIES = 512
WAIT_MS = 1000  # that a reader waits for an entry before it asks again
RETRY_S = 0.2
TIMEOUT_S = 5.0
Position = tuple[int, int]


class RedisLog:
    """Appends and reads; threads may share it.

    Args:
        url: such as ``redis://host:6379/stream-name``; ``rediss://`` for TLS; user and password as in a URL.

    Raises:
        EventLogError: the URL names no stream, or Redis cannot be reached.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.stream = unquote(parts.path.strip("/"))
        if not parts.hostname or not self.stream or "/" in self.stream:
            raise EventLogError(f"'{_shown(url)}' names no stream; write redis://host:port/stream-name")
        self.name = _shown(url)
        self._redis = require("redis", "redis")
        server = urlunsplit((parts.scheme, parts.netloc, "", parts.query, ""))
        # Without retries of its own, which take seconds: who records is told at once.
        self._client = self._redis.Redis.from_url(
            server, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None
        )
        self._marks = f"{self.stream}:marks"
        self._end = self._last("opened")
        self._closed, self._away = threading.Event(), False

    @property
    def end(self) -> Position:
        """The position of the last record that this process knows of."""
        return self._end

    def append(self, payload: bytes) -> Position:
        """Add a record and return its position, when Redis has it.

        Raises:
            EventLogError: Redis cannot be reached or refuses it; if the connection was lost on the way, the
                record may have been kept.
        """
        try:
            try:
                name = self._client.xadd(self.stream, {FIELD: payload})
            except (
                self._redis.ConnectionError
            ):  # an old connection, such as to a Redis that was started again
                name = self._client.xadd(self.stream, {FIELD: payload})  # kept twice it counts once
            position = _position(name)
        except self._redis.RedisError as error:
            raise self._refusal("written; the events are not acknowledged", error) from error
        self._end = max(self._end, position)
        return position

    def read(self, position: Position) -> Iterator[tuple[bytes, Position]]:
        """Yield the records behind a position, each with its own.

        Raises:
            EventLogError: Redis cannot be reached.
        """
        while True:
            try:
                entries = self._client.xrange(self.stream, f"({_text(position)}", "+", READ_ENTRIES)
            except self._redis.RedisError as error:
                raise self._refusal("read", error) from error
            for name, fields in entries:
                position = _position(name)
                self._end = max(self._end, position)
                if FIELD in fields:
                    yield fields[FIELD], position
            if len(entries) < READ_ENTRIES:
                return

    def follow(self, catch_up: Callable[[], None]) -> None:
        """Call ``catch_up`` whenever there are records of others, in a thread of its own, until closed."""
        # Whoever forgets the log ends the thread: it holds neither of the two.
        of = weakref.WeakMethod(self._hand_on), weakref.WeakMethod(catch_up)
        threading.Thread(target=_follow, args=of, name="events of Redis", daemon=True).start()

    def first(self) -> Position:
        """Return the position before all records that are still there."""
        return 0, 0

    def mark(self, histories: str) -> Position:
        """Return where the log ended when the histories of an export were first opened with it."""
        try:
            self._client.hsetnx(self._marks, histories, _text(self._last("opened")))
            return _position(self._client.hget(self._marks, histories))
        except self._redis.RedisError as error:
            raise self._refusal("opened", error) from error

    def truncate(self, position: Position) -> int:
        """Delete the records up to a position; return how many there were."""
        milliseconds, number = position
        try:
            found = self._client.xtrim(
                self.stream, minid=_text((milliseconds, number + 1)), approximate=False
            )
        except self._redis.RedisError as error:
            raise self._refusal("truncated", error) from error
        return int(found)

    def close(self) -> None:
        """End the thread and the connections."""
        self._closed.set()
        self._client.close()

    def _hand_on(self, catch_up: Callable[[], None]) -> bool:
        """Wait a while for a record of another, and have it read; return whether to go on."""
        try:
            if self._client.xread({self.stream: _text(self._end)}, count=1, block=WAIT_MS) or self._away:
                catch_up()
            if self._away:
                logger.warning("%s is back; events are read from where it was lost", self.name)
            self._away = False
        except (self._redis.RedisError, EventLogError, ValueError, OSError) as error:
            if not self._away and not self._closed.is_set():
                logger.warning("%s is away (%s); events of others do not count", self.name, error)
            self._away = True
            self._closed.wait(RETRY_S)
        return not self._closed.is_set()

    def _last(self, what: str) -> Position:
        try:
            entries = self._client.xrevrange(self.stream, count=1)
        except self._redis.RedisError as error:
            raise self._refusal(what, error) from error
        return _position(entries[0][0]) if entries else (0, 0)

    def _refusal(self, what: str, error: Exception) -> EventLogError:
        return EventLogError(
            f"the log '{self.name}' cannot be {what} ({error}); check that Redis runs there and has memory, "
            "then send them again"
        )


def _follow(hand_on: weakref.WeakMethod[Any], catch_up: weakref.WeakMethod[Any]) -> None:
    while (log := hand_on()) is not None and (of := catch_up()) is not None and log(of):
        del log, of


def _position(name: Any) -> Position:
    milliseconds, number = (name.decode() if isinstance(name, bytes) else str(name)).split("-")
    return int(milliseconds), int(number)


def _text(position: Position) -> str:
    return f"{position[0]}-{position[1]}"


def _shown(url: str) -> str:
    """Return a URL without its password."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
