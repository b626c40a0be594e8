"""UserSequences: each user's engagements in order of time; user sequences of requests are cut from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s, Ints, ranges, search_segments


@dataclass(frozen=True)
class Events:
    """The user sequences of R requests, newest event first.

    Args:
        item: jagged [L] row in the item table.
        query: [L] row of the event's query in its ID table (0 if the schema has no ``sequence.query``).
        action: [L] position of the engagement in the schema's list.
        age: [L] float32 hours before the request.
    """

    item: Jagged
    query: Ints
    action: Ints
    age: NDArray[np.float32]


@dataclass(frozen=True)
class UserSequences:
    """Engagements of all users, by user and time; the arrays may lie in memory-mapped files.

    Args:
        offsets: [U + 1] int64; the events of user u are ``offsets[u]..offsets[u + 1]``.
        time, item, query, action: [E] of each event.
    """

    offsets: Int64s
    time: Int64s
    item: Ints
    query: Ints
    action: Ints

    arrays: ClassVar[dict[str, str]] = {
        "offsets": "<i8",
        "time": "<i8",
        "item": "<i4",
        "query": "<i8",
        "action": "<i1",
    }

    def last(self, user: Int64s, time: Int64s, end: Int64s, length: int) -> Events:
        """Return the last ``length`` events before ``end`` of each request's user (-1: unknown, no events).

        Args:
            user: [R] user rows.
            time: [R] milliseconds of the requests, from which ages count.
            end: [R] milliseconds; events at or after it are not part of the sequence.
            length: most events of a request.
        """
        known = np.maximum(user, 0)
        low = np.asarray(self.offsets[known])
        high = np.where(user < 0, low, self.offsets[np.minimum(known + 1, len(self.offsets) - 1)])
        stop = search_segments(self.time, low, high, np.minimum(end, time))
        lengths = np.minimum(stop - low, length)
        newest = np.repeat(stop - 1, lengths)
        at = newest - (ranges(np.zeros(len(user), np.int64), lengths))
        age = (np.repeat(time, lengths) - self.time[at]) / 3_600_000
        return Events(
            Jagged(np.asarray(self.item[at]), lengths),
            np.asarray(self.query[at]),
            np.asarray(self.action[at]),
            age.astype(np.float32),
        )

    @classmethod
    def build(cls, folder: Path, blocks: Iterable[tuple[Ints, ...]], num_users: int) -> UserSequences:
        """Write events that come as blocks of (user, time, item, query, action) in order of user and time."""
        folder.mkdir(parents=True, exist_ok=True)
        counts = np.zeros(num_users + 1, np.int64)
        names = list(cls.arrays)[1:]
        files = [(folder / name).open("wb") for name in names]
        try:
            for user, *columns in blocks:
                if len(user):  # a block has neighbouring users alone
                    counts[user[0] + 1 : user[-1] + 2] += np.bincount(user - user[0])
                for name, file, column in zip(names, files, columns, strict=True):
                    file.write(np.ascontiguousarray(column, cls.arrays[name]).data)
        finally:
            for opened in files:
                opened.close()
        np.cumsum(counts).astype("<i8").tofile(folder / "offsets")
        (folder / "index.json").write_text(json.dumps({"users": num_users, "events": int(counts.sum())}))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> UserSequences:
        """Map what :meth:`build` wrote into memory, read-only."""
        sizes = json.loads((folder / "index.json").read_text())

        def read(name: str, dtype: str) -> Any:
            size = sizes["users"] + 1 if name == "offsets" else sizes["events"]
            return np.memmap(folder / name, dtype, "r", shape=(size,)) if size else np.empty(0, dtype)

        return cls(**{name: read(name, dtype) for name, dtype in cls.arrays.items()})

    def queries(self, block_events: int = 500_000) -> Iterator[tuple[Int64s, Int64s, Int64s]]:
        """Yield blocks of (item, query, time) of all events whose query is known (row 0 is many queries)."""
        for start in range(0, len(self.time), block_events):
            block = slice(start, start + block_events)
            query = np.asarray(self.query[block], np.int64)
            known = query > 0
            item = np.asarray(self.item[block], np.int64)
            yield item[known], query[known], np.asarray(self.time[block], np.int64)[known]

    def shared(self, length: int, block_events: int = 500_000) -> Iterator[tuple[Int64s, Int64s, Int64s]]:
        """Yield blocks of (item, other item, time): from ``time`` on a user had engaged with both.

        Each item also comes with itself. Of a user's distinct items, in order of first engagement, only those
        less than ``length`` places apart make a pair, so that the work is at most 2 * ``length`` rows
        for each event: users of both items further apart are not counted.

        Example::

            >>> one_user = UserSequences(
            ...     offsets=np.array([0, 3]), time=np.array([10, 20, 30]), item=np.array([5, 7, 5]),
            ...     query=np.zeros(3, int), action=np.zeros(3, int))
            >>> [tuple(map(int, row)) for block in one_user.shared(10) for row in zip(*block)]
            [(5, 5, 10), (7, 7, 20), (7, 5, 20), (5, 7, 20)]
        """
        users = len(self.offsets) - 1
        first = 0
        while first < users:
            last = int(np.searchsorted(self.offsets, self.offsets[first] + block_events, "right")) - 1
            last = min(max(last, first + 1), users)
            low, high = int(self.offsets[first]), int(self.offsets[last])
            user = np.repeat(np.arange(first, last), np.diff(self.offsets[first : last + 1]))
            item = np.asarray(self.item[low:high], np.int64)
            _, at = np.unique((user << 32) + item, return_index=True)  # a user's events lie in order of time
            at = np.sort(at)
            user, item, time = user[at], item[at], np.asarray(self.time[low:high], np.int64)[at]
            for apart in range(min(length, len(at))):
                one = np.flatnonzero(user[apart:] == user[: len(user) - apart]) + apart
                if not len(one):
                    break
                other = one - apart
                yield item[one], item[other], time[one]
                if apart:
                    yield item[other], item[one], time[one]
            first = last
