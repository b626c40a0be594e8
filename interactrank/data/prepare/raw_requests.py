"""RawRequests: some consecutive requests of a log with their candidates, sequences and keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.features import KeySpace, RequestKeys, key_spaces
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.text import ANALYZERS, compact, hash63, normalize
from interactrank.data.arrow_lists import constant, per_row, take
from interactrank.data.prepare.features import normalized, table_rows
from interactrank.data.prepare.user_sequences import Events, UserHistory
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.source import Source, request_column
from interactrank.schema import SearchSchema

ANY = "ANY"  # no engagement can be called so: names are in lower case
NEVER = np.iinfo(np.int64).max
REPEATS = KeySpace("repeats", ANY, None)  # what a user already engaged with after the same query


def text_keys(kind: str, queries: list[str]) -> Jagged:
    """Hashed keys of each query: ``query``, ``compact``, ``words`` or ``trigrams``."""
    whole: dict[str, Callable[[str], str]] = {"query": normalize, "compact": compact}
    known: dict[str, list[int]] = {}
    rows = []
    for query in queries:
        if query not in known:
            parts = [whole[kind](query)] if kind in whole else ANALYZERS[kind](query)
            known[query] = list(dict.fromkeys(map(hash63, parts)))
        rows.append(known[query])
    return per_row(rows)


def request_keys(
    schema: SearchSchema,
    *,
    queries: list[str],
    users: list[str | None],
    segments: dict[str, list[str | None]],
    history: dict[str, Jagged],
    time: NDArray[np.int64],
    history_end: NDArray[np.int64],
) -> RequestKeys:
    """The keys under which requests are counted, and are looked up.

    Args:
        schema: says which keys are needed.
        queries, users: of the R requests; a user may be None.
        segments: segment -> the value of each request's user; None where it is not known.
        history: distinct items of each request's user sequence: ``history`` all of them, ``history_query``
            those that followed the same query.
        time, history_end: [R] milliseconds.
    """
    keys: dict[KeySpace, Jagged] = {}
    for space in key_spaces(schema):
        if space.key == "all":
            found = constant(0, len(queries))
        elif space.key == "user":
            found = per_row([[] if u is None else [hash63(u)] for u in users])
        elif space.key in history:
            found = history[space.key]
        else:
            found = text_keys(space.key, queries)
        if space.segment is not None:
            found = _within(found, segments[space.segment])
        keys[space] = found
    parts = {str(x.analyzer): text_keys(x.analyzer, queries) for x in schema.lexical}
    return RequestKeys(keys, time, history_end, parts)


def _within(keys: Jagged, values: list[str | None]) -> Jagged:
    """Keys of one segment: mixed with the segment's value; none where the value is not known."""
    known = np.array([v is not None for v in values], bool)
    salt = np.array([0 if v is None else hash63(v) for v in values], np.uint64)
    kept = np.repeat(known, keys.lengths)
    mixed = (keys.values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.repeat(salt, keys.lengths)
    return Jagged((mixed >> np.uint64(1)).astype(np.int64)[kept], np.where(known, keys.lengths, 0))


def _distinct(rows: NDArray[np.int64], items: NDArray[Any], num_rows: int) -> Jagged:
    """Distinct items of each row."""
    pairs = np.unique((rows << 32) + items)
    return Jagged(pairs & 0xFFFF_FFFF, np.bincount(pairs >> 32, minlength=num_rows))


@dataclass(frozen=True)
class RawRequests:
    """Consecutive requests with their candidates.

    Args:
        schema: what the columns mean.
        table: Arrow table with a row for each request.
        candidates: Arrow table with a row for each candidate, in order of request.
        user_history: all users' engagements; None where the schema has no sequence.
        query_vocabulary: of the table of ``sequence.query``; None without it.
    """

    schema: SearchSchema
    table: Any
    candidates: Any
    user_history: UserHistory | None
    query_vocabulary: Vocabulary | None = None

    @classmethod
    def read(
        cls,
        source: Source,
        schema: SearchSchema,
        start: int,
        stop: int,
        user_history: UserHistory | None,
        query_vocabulary: Vocabulary | None = None,
    ) -> RawRequests:
        """Requests ``start..stop`` of the staged log."""
        where = f"WHERE request >= {start} AND request < {stop}"
        table = source.table(f"SELECT * FROM requests {where} ORDER BY request")
        candidates = source.table(f"SELECT * FROM candidates {where} ORDER BY request, position, row")
        return cls(schema, table, candidates, user_history, query_vocabulary)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def queries(self) -> list[str]:
        """Normalised query of each request."""
        return [normalize(q) for q in self.table["query"].to_pylist()]

    @cached_property
    def time(self) -> NDArray[np.int64]:
        """[R] milliseconds."""
        return self.table["time"].to_numpy().astype(np.int64)

    @cached_property
    def candidate_lengths(self) -> NDArray[np.int64]:
        """[R] candidates of each request."""
        first = self.table["request"][0].as_py() if len(self) else 0
        return np.bincount(self.candidates["request"].to_numpy() - first, minlength=len(self))

    @cached_property
    def items(self) -> Jagged:
        """Items of the candidates."""
        return Jagged(self.candidates["item"].to_numpy().astype(np.int32), self.candidate_lengths)

    def engaged(self, engagement: str) -> NDArray[np.bool_]:
        """[C] whether the candidate had that engagement, or :data:`ANY`, or the label of that head."""
        if engagement == ANY:
            return np.any([self.engaged(e) for e in self.schema.events.engagements], axis=0)
        if engagement not in self.schema.events.engagements:
            return self._engaged_by_head(engagement)
        return np.asarray(self.candidates[f"e_{engagement}"].to_numpy(), bool)

    def engaged_at(self, engagement: str) -> NDArray[np.int64]:
        """[C] milliseconds of the first such engagement (see ``engaged``); meaningless without one."""
        known = self.schema.events.engagements
        if engagement in known:
            return self.candidates[f"t_{engagement}"].to_numpy().astype(np.int64)
        names = list(known) if engagement == ANY else self.schema.head(engagement).engagements
        each = [np.where(self.engaged(e), self.engaged_at(e), NEVER) for e in names]
        return np.asarray(np.min(each, axis=0))

    def _engaged_by_head(self, name: str) -> NDArray[np.bool_]:
        """[C] the head's label as known when the engagement happens: what cancels it later does not count."""
        head = self.schema.head(name)
        happened = np.any([self.engaged(e) for e in head.engagements], axis=0)
        for e in head.unless:
            happened &= ~(self.engaged(e) & (self.engaged_at(e) <= self.engaged_at(name)))
        return np.asarray(happened)

    @cached_property
    def events(self) -> Events:
        """The user sequence of each request."""
        s = self.schema.sequence
        if s is None or self.user_history is None:
            empty = Jagged(np.empty(0, np.int32), np.zeros(len(self), np.int64))
            return Events(empty, np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.float32))
        user = self.table["user_row"].to_numpy().astype(np.int64)
        end = self.table["history_end"].to_numpy().astype(np.int64)
        return self.user_history.last(user, self.time, end, s.length)

    @cached_property
    def keys(self) -> RequestKeys:
        """What the cross features depend on."""
        columns = {s: self.segment(s) for s in self.schema.segments}
        return request_keys(
            self.schema,
            queries=self.queries,
            users=self.table["user"].to_pylist(),
            segments=columns,
            history=self._histories(),
            time=self.time,
            history_end=self.table["history_end"].to_numpy().astype(np.int64),
        )

    def segment(self, name: str) -> list[str | None]:
        """Value of a segment column for each request."""
        column = request_column(self.schema, name, self.schema.segments[name])
        return [None if v is None else str(v) for v in self.table[column].to_pylist()]

    def _histories(self) -> dict[str, Jagged]:
        """Distinct items of each sequence: all, and those that followed the request's own query."""
        items = self.events.item
        request = np.repeat(np.arange(len(self)), items.lengths)
        result = {"history": _distinct(request, items.values, len(self))}
        s = self.schema.sequence
        if self.query_vocabulary is not None and s is not None and s.query is not None:
            feature = self.schema.feature(s.query)
            name = request_column(self.schema, feature.column, feature.file)
            column = normalized(self.table[name]) if name == "query" else self.table[name]
            own = table_rows(feature, column, self.query_vocabulary).values[request]
            same = (self.events.query == own) & (own > 0)  # row 0 is many queries
            result["history_query"] = _distinct(request[same], items.values[same], len(self))
        return result

    @property
    def repeat_keys(self) -> Jagged:
        """Key of each request's user and query: what :data:`REPEATS` is counted by."""
        users = self.table["user"].to_pylist()
        return per_row([[hash63(f"{u}\x1f{q}")] for u, q in zip(users, self.queries, strict=True)])

    def explode(self, space: KeySpace) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """(key, item, time) of each engagement of a key space, one row for each key of its request."""
        of_requests = self.repeat_keys if space == REPEATS else self.keys.keys[space]
        rows = np.flatnonzero(self.engaged(space.engagement))
        request = np.repeat(np.arange(len(self)), self.candidate_lengths)[rows]
        keys = take(of_requests, request)
        times = self.engaged_at(space.engagement)[rows]
        return (
            keys.values.astype(np.int64),
            np.repeat(self.items.values[rows], keys.lengths).astype(np.int32),
            np.repeat(times, keys.lengths),
        )
