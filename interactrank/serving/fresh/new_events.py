"""NewEvents: events that user sequences get, as the cross features read them that count sequences."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping

import numpy as np

from interactrank.cross_features.requests import EngagementRows
from interactrank.serving.fresh.sequences import FreshSequences, UserEvents

__all__ = ["NewEvents"]


class NewEvents:
    """What events add to what :class:`~interactrank.cross_features.requests.UserSequences` yields.

    An item that a user had engaged with counts no second time. An event that is older than others of its user
    takes its place between them, and pairs that it pushes further apart stay counted until the next export.

    Args:
        events: ordered by user and time.
        before: the sequences without them.
        rows: hash of a user -> row in the sequences of the export, or -1.
        length: of a user sequence.
    """

    def __init__(
        self, events: UserEvents, before: FreshSequences, rows: Mapping[int, int], length: int
    ) -> None:
        self.events, self.before, self.user_rows, self.length = events, before, rows, length

    def queries(self) -> Iterator[EngagementRows]:
        """Yield (item, query, time) of each event whose query is known."""
        known = self.events.query > 0
        item = self.events.item[known].astype(np.int64)
        yield EngagementRows(item, self.events.query[known], self.events.time[known])

    def shared(self) -> Iterator[EngagementRows]:
        """Yield (item, other item, time): from that time on a user had engaged with both."""
        found: list[tuple[int, int, int]] = []
        users, first = np.unique(self.events.user, return_index=True)
        ends = np.append(first, len(self.events.user))[1:]
        for user, start, stop in zip(users.tolist(), first.tolist(), ends.tolist(), strict=True):
            times, items = self._known(user)
            own = slice(start, stop)
            for at, item in zip(self.events.time[own].tolist(), self.events.item[own].tolist(), strict=True):
                if item in items:
                    continue
                place = bisect_right(times, at)
                near = slice(max(0, place - self.length + 1), place + self.length - 1)
                found.append((item, item, at))
                for other, since in zip(items[near], times[near], strict=True):
                    found += [(item, other, max(at, since)), (other, item, max(at, since))]
                times.insert(place, at)
                items.insert(place, item)
        rows = np.array(found, np.int64).reshape(len(found), 3)
        yield EngagementRows(rows[:, 0], rows[:, 1], rows[:, 2])

    def _known(self, user: int) -> tuple[list[int], list[int]]:
        """Return when a user first engaged with each item so far, in order, and the items."""
        time, item, _, _ = self.before.of(self.user_rows.get(user, -1), user)
        first = np.sort(np.unique(item, return_index=True)[1])
        return time[first].tolist(), item[first].tolist()
