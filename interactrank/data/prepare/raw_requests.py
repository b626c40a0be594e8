"""RawRequests: some consecutive requests of a log with their candidates, sequences and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactrank.core.ids import id_text
from interactrank.core.parallel import in_order
from interactrank.cross_features import (
    EngagementRows,
    GivenValues,
    RequestFacts,
    RequestKeys,
    engagement_rows,
    features_of,
)
from interactrank.cross_features.candidate import candidate_codes
from interactrank.cross_features.features import keys_of
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged, row_of_each
from interactrank.cross_features.text import normalize
from interactrank.cross_features.text_keys import hashed
from interactrank.data.extras import pa
from interactrank.data.prepare.features import distinct, request_values, table_rows
from interactrank.data.prepared.user_sequences import Events, UserSequences
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import candidate_column, engagement_time, request_column
from interactrank.data.raw.staged_columns import engagement as engagement_column
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import SearchSchema

__all__ = ["ANY", "RawRequests", "RequestBlocks"]

ANY = "ANY"  # no engagement can be called so: names are in lower case
NEVER = np.iinfo(np.int64).max
Result = TypeVar("Result")


def _distinct(rows: NDArray[np.int64], items: NDArray[np.int32], num_rows: int) -> Jagged:
    """Return the distinct items of each row."""
    pairs = np.sort((rows << 32) + items)  # np.unique() would hash them: ten times slower
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
    return Jagged(pairs & 0xFFFF_FFFF, np.bincount(pairs >> 32, minlength=num_rows))


@dataclass(frozen=True)
class RawRequests:
    """Consecutive requests with their candidates.

    Args:
        schema: what the columns mean.
        table: Arrow table with a row for each request.
        candidates: Arrow table with a row for each candidate, in order of request.
        user_sequences: all users' engagements; None if the schema has no sequence.
        query_vocabulary: of the table of ``sequence.query``; None without it.
        item_fields: column of the items file -> the values of all items.
    """

    schema: SearchSchema
    table: pa.Table
    candidates: pa.Table
    user_sequences: UserSequences | None
    query_vocabulary: Vocabulary | None = None
    item_fields: Mapping[str, ItemFields] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        log: StagedLog,
        schema: SearchSchema,
        start: int,
        stop: int,
        user_sequences: UserSequences | None,
        query_vocabulary: Vocabulary | None = None,
        item_fields: Mapping[str, ItemFields] | None = None,
    ) -> RawRequests:
        """Read requests ``start..stop`` of the staged log, whose tables lie in order of request."""
        where = f"WHERE request >= {start} AND request < {stop}"
        table = log.table(f"SELECT * FROM requests {where}")
        candidates = log.table(f"SELECT * EXCLUDE (row) FROM candidates {where}")
        return cls(schema, table, candidates, user_sequences, query_vocabulary, item_fields or {})

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def queries(self) -> list[str]:
        """Return the normalised query of each request."""
        texts, at = distinct(self.table["query"])
        made = [normalize(text) for text in texts.to_pylist()]
        return [made[n] for n in at.tolist()]

    @cached_property
    def time(self) -> NDArray[np.int64]:
        """Return [R] milliseconds."""
        return self.table["time"].to_numpy().astype(np.int64)

    @cached_property
    def as_of(self) -> NDArray[np.int64]:
        """Return [R] milliseconds of the moment that the histories are at: what happened before it counts."""
        return self.time - self.schema.history_delay_ms

    @cached_property
    def history_end(self) -> NDArray[np.int64]:
        """Return [R] milliseconds at which user sequences end, at most :attr:`as_of`."""
        return np.minimum(self.table["history_end"].to_numpy().astype(np.int64), self.as_of)

    @cached_property
    def candidate_lengths(self) -> NDArray[np.int64]:
        """Return [R] candidates of each request."""
        first = self.table["request"][0].as_py() if len(self) else 0
        return np.bincount(self.candidates["request"].to_numpy() - first, minlength=len(self))

    @cached_property
    def items(self) -> Jagged:
        """Return the items of the candidates."""
        return Jagged(self.candidates["item"].to_numpy().astype(np.int32), self.candidate_lengths)

    def shown(self) -> NDArray[np.bool_]:
        """Return [C] whether the candidate was an impression."""
        return np.asarray(self.candidates["shown"].to_numpy(), bool)

    def fields(self, column: str) -> ItemFields:
        """Return the values of a column of the items file, by which a cross feature counts."""
        return self.item_fields[column]

    def engaged(self, engagement: str) -> NDArray[np.bool_]:
        """Return [C] whether the candidate had that engagement, or :data:`ANY`, or the label of that head."""
        return self._once(("engaged", engagement), lambda: self._engaged(engagement))

    def _engaged(self, engagement: str) -> NDArray[np.bool_]:
        if engagement == ANY:
            return np.asarray(np.any([self.engaged(e) for e in self.schema.events.engagements], axis=0))
        if engagement not in self.schema.events.engagements:
            return self._engaged_by_head(engagement)
        return np.asarray(self.candidates[engagement_column(engagement)].to_numpy(), bool)

    def engaged_at(self, engagement: str) -> NDArray[np.int64]:
        """Return [C] milliseconds of the first such engagement (see ``engaged``); meaningless without one."""
        return self._once(("engaged at", engagement), lambda: self._engaged_at(engagement))

    def _engaged_at(self, engagement: str) -> NDArray[np.int64]:
        known = self.schema.events.engagements
        if engagement in known:
            return self.candidates[engagement_time(engagement)].to_numpy().astype(np.int64)
        names = list(known) if engagement == ANY else self.schema.head(engagement).engagements
        each = [np.where(self.engaged(e), self.engaged_at(e), NEVER) for e in names]
        return np.asarray(np.min(each, axis=0))

    def _once(self, key: tuple[str, str], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return what ``make`` gives, which is called by the first feature or label that asks for ``key``."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @cached_property
    def _made(self) -> dict[tuple[str, str], NDArray[Any]]:
        return {}

    def _engaged_by_head(self, name: str) -> NDArray[np.bool_]:
        """Return [C] the head's label when the engagement happens: what cancels it later does not count."""
        head = self.schema.head(name)
        happened = np.any([self.engaged(e) for e in head.engagements], axis=0)
        for e in head.unless:
            happened &= ~(self.engaged(e) & (self.engaged_at(e) <= self.engaged_at(name)))
        return np.asarray(happened)

    @cached_property
    def events(self) -> Events:
        """Return the user sequence of each request."""
        s = self.schema.sequence
        if s is None or self.user_sequences is None:
            empty = Jagged(np.empty(0, np.int32), np.zeros(len(self), np.int64))
            return Events(empty, np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.float32))
        user = self.table["user_row"].to_numpy().astype(np.int64)
        return self.user_sequences.last(user, self.time, self.history_end, s.length)

    @cached_property
    def facts(self) -> RequestFacts:
        """Return what is known when the requests are made."""
        sequence_items = same_query_items = Jagged(np.empty(0, np.int64), np.zeros(len(self), np.int64))
        if any(f.reads_sequence for f in features_of(self.schema)):
            items = self.events.item
            request = row_of_each(items)
            same = self._same_query(request)
            sequence_items = _distinct(request, items.values, len(self))
            same_query_items = _distinct(request[same], items.values[same], len(self))
        return RequestFacts(
            queries=self.queries,
            users=self.table["user"].to_pylist(),
            segments={s: self.segment(s) for s in self.schema.segments},
            time=self.time,
            sequence_end=self.history_end,
            sequence_items=sequence_items,
            same_query_items=same_query_items,
            sessions=self.table["session"].to_pylist(),
        )

    @cached_property
    def keys(self) -> RequestKeys:
        """Return what the cross features depend on."""
        return replace(keys_of(features_of(self.schema), self.facts, self.given), time=self.as_of)

    @cached_property
    def given(self) -> GivenValues:
        """Return the candidate features; a number that is not finite is unknown."""
        values = {}
        for f in self.schema.features.candidate:
            column = self.candidates[candidate_column(f.name)]
            if f.kind == "id":
                values[f.name] = candidate_codes(f, column.to_pylist())
            else:
                found = np.asarray(column.to_numpy(), np.float32)
                values[f.name] = np.where(np.isfinite(found), found, np.float32(np.nan))
        return GivenValues(self.items, values)

    def segment(self, name: str) -> list[str | None]:
        """Return the value of a segment column for each request."""
        column = request_column(self.schema, name, self.schema.segments[name])
        values, at = distinct(self.table[column])
        texts = [id_text(v) for v in values.to_pylist()]
        return [texts[n] for n in at.tolist()]

    def _same_query(self, request: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return [L] whether each event of the sequences followed the query of its request."""
        s = self.schema.sequence
        if self.query_vocabulary is None or s is None or s.query is None:
            return np.zeros(len(request), bool)
        feature = self.schema.feature(s.query)
        queries = request_values(self.schema, feature, self.table)
        own = table_rows(feature, queries, self.query_vocabulary).values[request]
        return np.asarray((self.events.query == own) & (own > 0))  # row 0 is many queries

    @property
    def repeat_keys(self) -> Jagged:
        """Return the key of each request's user and query: what repeats are counted by."""
        users = self.table["user"].to_pylist()
        return hashed([f"{u}\x1f{q}" for u, q in zip(users, self.queries, strict=True)])

    def repeat_rows(self) -> EngagementRows:
        """Return all engagements under the keys of :attr:`repeat_keys`."""
        return engagement_rows(self, self.repeat_keys, ANY)


@dataclass(frozen=True)
class RequestBlocks:
    """All requests of a staged log, a block of them in memory at a time.

    Args:
        log: the staged log.
        schema: what its columns mean.
        size: requests of a block.
        threads: blocks that :meth:`map` works on at a time.
        user_sequences, query_vocabulary, item_fields: see :class:`RawRequests`.
    """

    log: StagedLog
    schema: SearchSchema
    size: int
    user_sequences: UserSequences | None
    query_vocabulary: Vocabulary | None
    item_fields: Mapping[str, ItemFields] = field(default_factory=dict)
    threads: int = 1

    def __len__(self) -> int:
        return -(-self.log.num_requests // self.size)

    def __iter__(self) -> Iterator[RawRequests]:
        return map(self._read, self._starts())

    def map(self, work: Callable[[RawRequests], Result]) -> Iterator[Result]:
        """Yield what ``work`` gives for each block, in order; several threads read and work."""
        return in_order(lambda start: work(self._read(start)), self._starts(), self.threads)

    def _starts(self) -> range:
        return range(0, self.log.num_requests, self.size)

    def _read(self, start: int) -> RawRequests:
        return RawRequests.read(
            self.log,
            self.schema,
            start,
            min(start + self.size, self.log.num_requests),
            self.user_sequences,
            self.query_vocabulary,
            self.item_fields,
        )
