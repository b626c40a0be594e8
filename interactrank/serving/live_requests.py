"""LiveRequests: requests that are made now, read as ``prepare`` reads those of a log.

One code reads both, so that a feature cannot mean something else in serving. Shapes: R requests, X rates.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np

from interactrank.batch.layout import BatchLayout
from interactrank.core.ids import id_text
from interactrank.core.settings import near
from interactrank.cross_features import CrossColumns, RequestKeys
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.text import hash63
from interactrank.data.arrow_lists import list_rows, to_arrow
from interactrank.data.extras import pa
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepare.encode_requests import encode_query_side
from interactrank.data.prepare.raw_requests import RawRequests
from interactrank.data.prepared.columns import CROSS_SUPPORT
from interactrank.data.prepared.items import Items
from interactrank.data.prepared.users import Users
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import event_columns, request_column, user_columns
from interactrank.serving.errors import RequestError
from interactrank.serving.fresh.delta import Histories
from interactrank.serving.fresh.sequences import FreshSequences
from interactrank.serving.live_sequences import SEQUENCE, with_given_sequences

__all__ = ["Live", "LiveRequests"]

SESSION_START = "session_start"


class Live(NamedTuple):
    """R requests, ready for the query tower and the cross features.

    Args:
        requests: what the query tower reads.
        keys: what the cross features depend on, without candidates.
    """

    requests: PreparedRequests
    keys: RequestKeys


class LiveRequests:
    """Reads requests.

    A request is a mapping with the names of the events file's columns: the query, and the columns that
    request features and segments read, None where a value is not known. It may also have

    - the user and the session; without them there is no history of theirs;
    - the time, a ``datetime`` or milliseconds since 1970; now when left out;
    - columns of the users file, which count instead of what the log said of the user;
    - ``sequence``: the user's last engagements, which count instead of those of the log, as mappings with
      ``item``, ``engagement``, ``time`` and ``query``;
    - ``session_start``: when the session began, if sequences end there; the request's time when left out.

    Args:
        layout: of the model.
        vocabularies: of each ID table.
        users: of the log.
        items: of the catalogue.
        item_rows: item ids -> rows of the catalogue, -1 for unknown ones.
        item_fields: column of the items file -> the values of all items.
    """

    def __init__(
        self,
        layout: BatchLayout,
        *,
        vocabularies: Mapping[str, Vocabulary],
        users: Users,
        items: Items,
        item_rows: Any,
        item_fields: Mapping[str, ItemFields],
    ) -> None:
        self.layout, self.schema = layout, layout.schema
        self.vocabularies, self.users, self.items = vocabularies, users, items
        self.item_rows, self.item_fields = item_rows, item_fields
        schema = self.schema
        e = schema.events
        self._needed = [e.query, *event_columns(schema)]
        self._of_user = user_columns(schema) if schema.users is not None else []
        optional = [e.user, e.session, e.time, *self._of_user, SEQUENCE if schema.sequence else None]
        if schema.sequence is not None and schema.sequence.end == "session":
            optional.append(SESSION_START)
        self._known = list(dict.fromkeys([*self._needed, *(name for name in optional if name)]))
        s = schema.sequence
        table = None if s is None or s.query is None else schema.feature(s.query).table
        self._query_vocabulary = None if table is None else vocabularies[table]
        self._rates = len(CrossColumns.of(schema).rates)

    def read(self, requests: Sequence[Mapping[str, Any]], fresh: Histories | None = None) -> Live:
        """Read R requests.

        Args:
            requests: see above.
            fresh: the histories as of now, if they are later than those of the log.

        Raises:
            RequestError: a request lacks a column, has one that nothing reads, or a value that cannot be
                read; names the request and the column.
        """
        for n, request in enumerate(requests):
            self._check(n, request)
        block = self._block(requests, fresh)
        try:
            columns = encode_query_side(block, self.vocabularies)
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise RequestError(f"a request cannot be read: {error}") from None
        none = np.zeros((len(requests), self._rates), np.float32)
        columns[CROSS_SUPPORT] = to_arrow(list_rows(none), "float32")
        prepared = PreparedRequests(pa.table(columns), np.arange(len(requests)), self.layout, self.items)
        return Live(prepared, block.keys)

    def _check(self, n: int, request: Mapping[str, Any]) -> None:
        for name in self._needed:
            if name not in request:
                raise RequestError(f"request {n} has no '{name}'; give None if it is not known")
        for name in request:
            if name not in self._known:
                raise RequestError(f"request {n} has '{name}', which nothing reads{near(name, self._known)}")
        if not isinstance(request[self.schema.events.query], str):
            found = type(request[self.schema.events.query]).__name__
            raise RequestError(f"request {n}: '{self.schema.events.query}' must be text, found {found}")

    def _block(self, requests: Sequence[Mapping[str, Any]], fresh: Histories | None) -> RawRequests:
        e, schema = self.schema.events, self.schema
        # A request that is made now is later than all that was recorded, also within one millisecond.
        now = max(time.time_ns() // 1_000_000, -1 if fresh is None else fresh.last + 1)
        times = [self._time(n, r.get(e.time), now) for n, r in enumerate(requests)]
        users = [id_text(r.get(e.user)) if e.user else None for r in requests]
        rows = self.users.rows(users)
        columns: dict[str, Any] = {
            "request": pa.array(range(len(requests)), pa.int64()),
            "time": pa.array(times, pa.int64()),
            "query": pa.array([r[e.query] for r in requests], pa.string()),
            "user": pa.array(users, pa.string()),
            "session": pa.array(
                [id_text(r.get(e.session)) if e.session else None for r in requests], pa.string()
            ),
            "history_end": pa.array(
                [self._sequence_end(n, t, r) for n, (t, r) in enumerate(zip(times, requests, strict=True))],
                pa.int64(),
            ),
        }
        for name in event_columns(schema):
            columns[request_column(schema, name, "events")] = self._column(name, "events", requests)
        columns |= self._user_columns(users, requests)
        sequences = self.users.sequences
        recorded = None if fresh is None else fresh.sequences
        if any(SEQUENCE in r for r in requests) or (recorded is not None and recorded.runs):
            of = recorded if recorded is not None or sequences is None else FreshSequences(sequences)

            def logged(n: int) -> tuple[Any, ...] | None:
                user = users[n]
                return None if of is None or user is None else of.of(int(rows[n]), hash63(user))

            sequences, rows = with_given_sequences(
                requests, logged, schema, self.item_rows, self._query_vocabulary, self._time
            )
        columns["user_row"] = pa.array(rows, pa.int64())
        candidates = pa.table({"request": pa.array([], pa.int64()), "item": pa.array([], pa.int32())})
        return _WithoutCandidates(
            schema, pa.table(columns), candidates, sequences, self._query_vocabulary, self.item_fields
        )

    def _user_columns(self, users: list[str | None], requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if not self._of_user:
            return {}
        logged = self.users.table(users)
        columns = {}
        for name in self._of_user:
            staged = request_column(self.schema, name, "users")
            column = None if logged is None else logged[staged].combine_chunks()
            if any(name in r for r in requests) or column is None:
                values = [None] * len(requests) if column is None else column.to_pylist()
                given = [r.get(name, value) for r, value in zip(requests, values, strict=True)]
                column = self._array(name, "users", given)
            columns[staged] = column
        return columns

    def _column(self, name: str, file: str, requests: Sequence[Mapping[str, Any]]) -> pa.Array:
        return self._array(name, file, [r[name] for r in requests])

    def _array(self, name: str, file: str, values: list[Any]) -> pa.Array:
        features = [f for f in self.schema.features.request if f.column == name]
        vector = any(f.kind == "vector" and (f.file or "events") == file for f in features)
        try:
            return pa.array(values, pa.list_(pa.float32()) if vector else None)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise RequestError(f"'{name}' of a request cannot be read ({error})") from None

    def _time(self, n: int, value: Any, now: int | None = None) -> int:
        if value is None:
            return time.time_ns() // 1_000_000 if now is None else now
        if isinstance(value, datetime):
            zoned = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
            return int(zoned.timestamp() * 1000)
        if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 0:
            return int(value)
        raise RequestError(
            f"request {n}: a time is a datetime or whole milliseconds since 1970, found {value!r}"
        )

    def _sequence_end(self, n: int, at: int, request: Mapping[str, Any]) -> int:
        """Return the moment before which events belong to the user sequence, as ``prepare`` does."""
        end = self.schema.sequence.end if self.schema.sequence else "request"
        if end == "session":
            return min(at, self._time(n, request.get(SESSION_START, at)))
        if end in ("day", "month"):
            day = datetime.fromtimestamp(at / 1000, timezone.utc)
            first = day.replace(hour=0, minute=0, second=0, microsecond=0)
            first = first.replace(day=1) if end == "month" else first
            return int(first.timestamp() * 1000)
        return at


class _WithoutCandidates(RawRequests):
    """Requests whose candidates come later; their keys do not depend on them."""

    @property
    def given(self) -> Any:
        """Nothing has come with candidates."""
        return None
