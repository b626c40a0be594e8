"""Recorded: the requests whose events come one after the other, and what new rows change of them.

A log has an impression and a click of one candidate in two rows, which ``prepare`` reads as one candidate. So
must rows that come apart: what a request's candidates were is kept, and new rows give two blocks of requests,
as they were and as they are. What the second counts and the first does not is added, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interactrank.cross_features.item_fields import ItemFields
from interactrank.data.extras import pa
from interactrank.data.prepare.raw_requests import RawRequests
from interactrank.data.prepared.users import Users
from interactrank.data.raw.staged_columns import engagement, engagement_time, request_column, user_columns
from interactrank.schema import SearchSchema
from interactrank.serving.fresh.rows import NEVER, EventRows

__all__ = ["MAX_CANDIDATES", "Recorded", "fact_columns"]

MAX_CANDIDATES = 300_000  # candidates whose later rows are told from those of others
Candidate = tuple[bool, tuple[int, ...]]  # shown, and when each engagement happened


class _Request:
    """A request: when it was made, what is known of it, and its candidates."""

    __slots__ = ("candidates", "facts", "time")

    def __init__(self, time: int, facts: tuple[Any, ...], candidates: dict[int, Candidate]) -> None:
        self.time, self.facts, self.candidates = time, facts, candidates


class Recorded:
    """The last requests that were recorded.

    Args:
        schema: what the columns mean.
        users: of the export, for segments of the users file.
        item_fields: column of the items file -> the values of all items.
        event_time: milliseconds up to which the export has all impressions.
    """

    def __init__(
        self,
        schema: SearchSchema,
        users: Users,
        item_fields: Mapping[str, ItemFields],
        event_time: int = -1,
    ) -> None:
        self._event_time = event_time
        self.schema, self.users, self.item_fields = schema, users, item_fields
        self._of_user = user_columns(schema) if schema.users is not None else []
        self._requests: dict[str, _Request] = {}
        self._size = 0

    def add(self, rows: EventRows) -> tuple[RawRequests | None, RawRequests]:
        """Return the candidates that rows change: as they were (None: none was known), and as they are.

        A candidate without impression and engagement is none, as in ``prepare``; the first row of a request
        says what is known of it.
        """
        before: dict[str, _Request] = {}
        now: dict[str, dict[int, Candidate]] = {}
        columns = (rows.item, rows.time, rows.shown, rows.happened, rows.request, rows.facts)
        for item, time, shown, happened, name, facts in zip(*columns, strict=True):
            shown = shown and time > self._event_time
            if item < 0 or not (shown or min(happened) < NEVER):
                continue
            request = self._requests.get(name)
            if request is None:
                request = self._requests[name] = _Request(time, facts, {})
            changed = now.setdefault(name, {})
            if time < request.time:  # an earlier row: the request itself was earlier
                for of in request.candidates.keys() - changed.keys():
                    _keep(before, name, request, of)
                changed.update(request.candidates)
                request.time = time
            known = request.candidates.get(item)
            if known is None:
                self._size += 1
            else:
                if item not in changed:  # what came with this very block was not there before it
                    _keep(before, name, request, item)
                shown = shown or known[0]
                happened = tuple(map(min, happened, known[1]))
            request.candidates[item] = changed[item] = (shown, happened)
        after = {
            name: _Request(self._requests[name].time, self._requests[name].facts, candidates)
            for name, candidates in now.items()
        }
        self._forget()
        return self._block(before) if before else None, self._block(after)

    def _forget(self) -> None:
        """Forget the oldest requests, so that memory is bounded: their later rows count as of new ones."""
        names = iter(list(self._requests)) if self._size > MAX_CANDIDATES else iter(())
        while self._size > MAX_CANDIDATES:
            self._size -= len(self._requests.pop(next(names)).candidates)

    def _block(self, requests: Mapping[str, _Request]) -> RawRequests:
        ordered = sorted(requests.items(), key=lambda of: (of[1].time, of[0]))
        candidates = [
            (n, item, shown, happened)
            for n, (_, request) in enumerate(ordered)
            for item, (shown, happened) in request.candidates.items()
        ]
        number, item, shown, happened = zip(*candidates, strict=True) if candidates else ((), (), (), ())
        columns: dict[str, Any] = {
            "request": pa.array(number, pa.int64()),
            "item": pa.array(item, pa.int32()),
            "shown": pa.array(shown, pa.bool_()),
        }
        for k, name in enumerate(self.schema.events.engagements):
            times = [of[k] for of in happened]
            columns[engagement(name)] = pa.array([t < NEVER for t in times], pa.bool_())
            columns[engagement_time(name)] = pa.array(times, pa.int64())
        return RawRequests(
            self.schema,
            self._table([request for _, request in ordered]),
            pa.table(columns),
            user_sequences=None,
            item_fields=self.item_fields,
        )

    def _table(self, requests: list[_Request]) -> pa.Table:
        time = pa.array([r.time for r in requests], pa.int64())
        users = [r.facts[1] for r in requests]
        columns: dict[str, Any] = {
            "request": pa.array(range(len(requests)), pa.int64()),
            "time": time,
            "history_end": time,
            "query": pa.array([r.facts[0] for r in requests], pa.string()),
            "user": pa.array(users, pa.string()),
            "session": pa.array([r.facts[2] for r in requests], pa.string()),
        }
        for n, name in enumerate(fact_columns(self.schema), 3):
            columns[request_column(self.schema, name, "events")] = pa.array([r.facts[n] for r in requests])
        logged = self.users.table(users) if self._of_user else None
        for name in self._of_user:
            staged = request_column(self.schema, name, "users")
            columns[staged] = pa.nulls(len(requests)) if logged is None else logged[staged]
        return pa.table(columns)


def _keep(before: dict[str, _Request], name: str, request: _Request, item: int) -> None:
    """Note a candidate as it is."""
    old = before.setdefault(name, _Request(request.time, request.facts, {}))
    old.candidates[item] = request.candidates[item]


def fact_columns(schema: SearchSchema) -> list[str]:
    """Return the columns of the events file that counting reads, without query and user."""
    wanted = [name for name, file in schema.segments.items() if file == "events"]
    s = schema.sequence
    if s is not None and s.query is not None and schema.feature(s.query).file != "users":
        wanted.append(schema.feature(s.query).column)
    return [c for c in dict.fromkeys(wanted) if c not in (schema.events.query, schema.events.user)]
