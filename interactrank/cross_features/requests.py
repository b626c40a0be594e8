"""What cross features are told about requests: by ``prepare`` from a log, later by a server of a live one.

Shapes: R requests, C candidates, E engagements.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s, Ints

__all__ = [
    "EngagementRows",
    "GivenValues",
    "LoggedRequests",
    "RequestFacts",
    "RequestKeys",
    "StoreInputs",
    "UserSequences",
]


@dataclass(frozen=True)
class RequestFacts:
    """What is known of R requests at the moment when they are made.

    Args:
        queries: normalised text of the query.
        users: who searched; None if that is not known.
        segments: segment of the schema -> the value of each request; None if it is not known.
        time: [R] int64 milliseconds: only what happened before it may count.
        sequence_end: [R] int64 milliseconds, at most ``time``: where the user's own past ends.
        sequence_items: distinct items of the user sequence.
        same_query_items: those of them that followed the same query.
        sessions: the session of each request; None if that is not known.
    """

    queries: list[str]
    users: list[str | None]
    segments: Mapping[str, list[str | None]]
    time: Int64s
    sequence_end: Int64s
    sequence_items: Jagged
    same_query_items: Jagged
    sessions: list[str | None] = field(default_factory=list)
    _made: dict[Hashable, Jagged] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], Jagged]) -> Jagged:
        """Return what ``make`` gives, which is called by the first feature that asks for ``key``."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def __len__(self) -> int:
        return len(self.queries)


class GivenValues(NamedTuple):
    """The candidate features of requests.

    Args:
        items: of each request, none twice, jagged [G].
        values: candidate feature -> [G] float32: its number, or the code of its id; NaN where it has none.
    """

    items: Jagged
    values: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class RequestKeys:
    """What a look-up needs of R requests: it is stored with each prepared request.

    Args:
        keys: name -> int64 keys of each request, see :meth:`CrossFeature.request_keys`.
        time: [R] int64 milliseconds of the moment that the histories are at: that of the request, or
            ``schema.history_delay`` before it.
        sequence_end: [R] int64 milliseconds, at most ``time``.
        given: what came with the candidates; None for nothing.
    """

    keys: Mapping[str, Jagged]
    time: Int64s
    sequence_end: Int64s
    given: GivenValues | None = None

    def each(self) -> Iterator[RequestKeys]:
        """Yield the keys of each request by itself.

        Example::

            >>> of_two = {"query": Jagged(np.array([7, 8, 9]), np.array([1, 2]))}
            >>> times = np.array([10, 20])
            >>> [keys.keys["query"].values.tolist() for keys in RequestKeys(of_two, times, times).each()]
            [[7], [8, 9]]
        """
        lists = list(self.keys.values()) + ([] if self.given is None else [self.given.items])
        ends = [np.cumsum(of.lengths).tolist() for of in lists]
        for n in range(len(self.time)):
            spans = [slice(end[n - 1] if n else 0, end[n]) for end in ends]
            own = [Jagged(of.values[s], of.lengths[n : n + 1]) for of, s in zip(lists, spans, strict=True)]
            given = None
            if self.given is not None:
                values = {name: v[spans[-1]] for name, v in self.given.values.items()}
                given = GivenValues(own[-1], values)
            times = self.time[n : n + 1], self.sequence_end[n : n + 1]
            yield RequestKeys(dict(zip(self.keys, own, strict=False)), *times, given)


class EngagementRows(NamedTuple):
    """What is counted: at ``time`` [E] int64 ms, ``item`` [E] was engaged with, under ``key`` [E]."""

    key: Int64s
    item: Ints
    time: Int64s


class LoggedRequests(Protocol):
    """A block of logged requests with their candidates and what happened to them."""

    @property
    def facts(self) -> RequestFacts:
        """What was known when the requests were made."""

    @property
    def items(self) -> Jagged:
        """Rows in the catalogue of the candidates of each request, [C] in all."""

    def shown(self) -> NDArray[np.bool_]:
        """Return [C] whether the candidate was an impression of the request."""

    def fields(self, column: str) -> ItemFields:
        """Return the values of a column of the items file; one of ``settings.field_columns``."""

    def engaged(self, engagement: str) -> NDArray[np.bool_]:
        """Return [C] whether the candidate had that engagement, or the label of the head of that name."""

    def engaged_at(self, engagement: str) -> Int64s:
        """Return [C] milliseconds of the first such engagement; meaningless without one."""


class UserSequences(Protocol):
    """Every user's engagements in order of time, as the schema's section ``sequence`` says."""

    def shared(self) -> Iterator[EngagementRows]:
        """Yield (item, other item, time): from that time on a user had engaged with both."""

    def queries(self) -> Iterator[EngagementRows]:
        """Yield (item, query, time) of each engagement whose query is known."""


@dataclass(frozen=True)
class StoreInputs:
    """What a store is built from.

    Args:
        by_pair: gives all engagement rows as blocks, ordered by key, item and time.
        by_key: gives the times alone as blocks, ordered by key and time.
        items: column of the items file -> its N values; those of ``settings.item_columns``.
        num_items: N, items of the catalogue.
    """

    by_pair: Callable[[], Iterator[EngagementRows]]
    by_key: Callable[[], Iterator[Int64s]]
    items: Mapping[str, list[Any]]
    num_items: int
