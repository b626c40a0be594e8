"""FreshSequences: the users' engagements of the export with those that were recorded since.

Shapes: E events, K users of a run, R requests.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from interactrank.cross_features.pair_index import Int64s, Ints, ranges
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.serving.fresh.runs import joins

__all__ = ["FreshSequences", "SequenceRun", "UserEvents"]


Event = tuple[int, int, int, int, int]


class UserEvents(NamedTuple):
    """Events of users.

    Args:
        user: [E] int64 hash of each event's user.
        time: [E] int64 milliseconds.
        item: [E] int32 row of the catalogue.
        query: [E] int32 row of the event's query in its ID table.
        action: [E] int8 position of the engagement in the schema's list.
    """

    user: Int64s
    time: Int64s
    item: Ints
    query: Ints
    action: Ints

    @classmethod
    def of(cls, rows: list[Event]) -> UserEvents:
        """Return rows of (user, time, item, query, action), in any order, by user, time and item."""
        table = np.array(rows, np.int64).reshape(len(rows), 5)
        table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
        kinds = (np.int64, np.int64, np.int32, np.int32, np.int8)
        return cls(*(table[:, n].astype(kind) for n, kind in enumerate(kinds)))


class SequenceRun(NamedTuple):
    """Events by user, time and item; those of user ``keys[k]`` are ``offsets[k]..offsets[k + 1]``.

    17 bytes an event and 16 a user.
    """

    keys: Int64s
    offsets: Int64s
    time: Int64s
    item: Ints
    query: Ints
    action: Ints

    def of(self, user: int) -> slice:
        """Return where the events of a user lie."""
        at = int(np.searchsorted(self.keys, user))
        if at == len(self.keys) or self.keys[at] != user:
            return slice(0, 0)
        return slice(int(self.offsets[at]), int(self.offsets[at + 1]))

    def events(self) -> UserEvents:
        """Return all events."""
        return UserEvents(np.repeat(self.keys, np.diff(self.offsets)), *self[2:])


class FreshSequences:
    """Sequences as of now. They never change: :meth:`added` returns others.

    Events of one moment come in order of their items, as those of one request do in ``prepare``; those of the
    export come before.

    Args:
        base: of the export.
        runs: what was recorded since, in runs of falling size.
    """

    def __init__(self, base: UserSequences, runs: tuple[SequenceRun, ...] = ()) -> None:
        self.base, self.runs = base, runs

    def added(self, events: UserEvents) -> FreshSequences:
        """Return the sequences with more events."""
        if not len(events.user):
            return self
        rest, merged, size = list(self.runs), [events], len(events.user)
        while rest and joins(len(rest[-1].time), size, len(rest)):
            last = rest.pop()
            size += len(last.time)
            merged.append(last.events())
        return FreshSequences(self.base, (*rest, _run(merged)))

    def removed(self, events: UserEvents) -> FreshSequences:
        """Return the sequences without some events that were recorded."""
        left, runs = Counter(_rows(events)), []
        for run in self.runs:
            of = Counter(_rows(run.events()))
            runs.append(_run([UserEvents.of(list((of - left).elements()))]) if of & left else run)
            left -= of
        return FreshSequences(self.base, tuple(run for run in runs if len(run.keys)))

    def of(self, row: int, user: int | None) -> tuple[Int64s, Ints, Ints, Ints]:
        """Return time, item, query and action of a user's events, in order of time.

        Args:
            row: of the user in ``base``; -1 for one that it does not have.
            user: hash of the user; None for none.
        """
        low, high = self.base.offsets[row : row + 2] if row >= 0 else (0, 0)
        own = ranges(np.array([low]), np.array([high - low]))
        names = ("time", "item", "query", "action")
        parts = [tuple(np.asarray(getattr(self.base, name)[own]) for name in names)]
        for run in self.runs if user is not None else ():
            at = run.of(user or 0)
            if at.stop:
                parts.append(tuple(getattr(run, name)[at] for name in names))
        time, item, query, action = (np.concatenate(column) for column in zip(*parts, strict=True))
        if len(parts) > 1:
            recorded = np.repeat(np.arange(len(parts)) > 0, [len(part[0]) for part in parts])
            order = np.lexsort((np.where(recorded, item, 0), recorded, time))
            time, item, query, action = time[order], item[order], query[order], action[order]
        return time, item, query, action

    def merged(self, n: int) -> SequenceRun:
        """Return run n and the next as one."""
        return _run([self.runs[n].events(), self.runs[n + 1].events()])

    @property
    def nbytes(self) -> int:
        """Bytes of what was recorded."""
        return sum(array.nbytes for run in self.runs for array in run)


def _rows(events: UserEvents) -> list[Event]:
    return list(zip(*(column.tolist() for column in events), strict=True))


def _run(parts: list[UserEvents]) -> SequenceRun:
    """Return sorted events of several sources as one run."""
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    user, time, item, query, action = (column[order] for column in columns)
    first = np.flatnonzero(np.append(True, user[1:] != user[:-1])[: len(user)])
    return SequenceRun(user[first], np.append(first, len(user)).astype(np.int64), time, item, query, action)
