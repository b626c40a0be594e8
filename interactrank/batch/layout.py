"""BatchLayout: the keys and columns of a :class:`~interactrank.batch.SearchBatch` that a schema asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from interactrank.core.managed_ids import ID_LIMIT
from interactrank.schema import Feature, SearchSchema

__all__ = ["BatchLayout", "Slot"]


class Slot(NamedTuple):
    """One key of a KeyedJaggedTensor, with what fills its request rows, item rows and event rows."""

    key: str
    table: str
    request: str | None = None
    item: str | None = None
    event: str | None = None  # "item" or "query": the ids of the user sequence


@dataclass(frozen=True)
class BatchLayout:
    """Where each feature of a schema lies in a :class:`SearchBatch`.

    A table lives in exactly one collection. Tables that only requests (only items) use are pooled over R
    (I) rows. A pooled table that both sides use has R + I rows. Tables of the user sequence are not pooled:
    their keys have R request rows, then I item rows, then R rows of events.

    Args:
        schema: what the columns mean.
        table_rows: rows of each ID table.
        num_items: items of the catalogue.
        number_stats: ``minimum``, ``maximum``, ``mean`` and ``std`` of each number feature in training.
    """

    schema: SearchSchema
    table_rows: dict[str, int]
    num_items: int
    number_stats: dict[str, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def request_slots(self) -> list[Slot]:
        """Return the keys of ``request_ids``."""
        return [Slot(f.name, t, request=f.name) for f, t in self._pooled() if t in self._only("request")]

    @cached_property
    def item_slots(self) -> list[Slot]:
        """Return the keys of ``item_ids``."""
        return [Slot(f.name, t, item=f.name) for f, t in self._pooled() if t in self._only("item")]

    @cached_property
    def shared_slots(self) -> list[Slot]:
        """Return the keys of ``shared_ids``; the n-th request and item feature of a table share a key."""
        return self._paired({t for _, t in self._pooled()} - self._only("request") - self._only("item"), {})

    @cached_property
    def event_slots(self) -> list[Slot]:
        """Return the keys of ``event_ids``."""
        events: dict[str, list[str]] = {}
        s = self.schema.sequence
        if s is not None:
            events.setdefault(str(self.schema.feature(s.item).table), []).append("item")
            if s.query is not None:
                events.setdefault(str(self.schema.feature(s.query).table), []).append("query")
        return self._paired(self.schema.sequence_tables, events)

    def id_limit(self, table: str) -> int:
        """Return what ids of a table are below: its rows, or for a managed table the range of hashes."""
        managed = self.schema.tables[table].ids == "managed"
        return ID_LIMIT if managed else self.table_rows[table]

    def sparse(self, side: str) -> list[Feature]:
        """Return the looked-up features of ``request`` or ``item``."""
        return [f for f in getattr(self.schema.features, side) if f.is_sparse]

    def numbers(self, side: str) -> list[Feature]:
        """Return the number features of ``request`` or ``item``: the first columns of its dense tensor."""
        return [f for f in getattr(self.schema.features, side) if f.kind == "number"]

    def vectors(self, side: str) -> list[Feature]:
        """Return the vector features of ``request`` or ``item``: the columns after the numbers."""
        return [f for f in getattr(self.schema.features, side) if f.kind == "vector"]

    def dense_width(self, side: str) -> int:
        """Return the columns of ``request_dense`` or ``item_dense``."""
        return len(self.numbers(side)) + sum(f.dim or 0 for f in self.vectors(side))

    def _pooled(self) -> list[tuple[Feature, str]]:
        features = [*self.sparse("request"), *self.sparse("item")]
        return [(f, str(f.table)) for f in features if f.table not in self.schema.sequence_tables]

    def _only(self, side: str) -> set[str]:
        other = "item" if side == "request" else "request"
        mine = {str(f.table) for f in self.sparse(side)}
        return mine - {str(f.table) for f in self.sparse(other)} - self.schema.sequence_tables

    def _paired(self, tables: set[str], events: dict[str, list[str]]) -> list[Slot]:
        slots = []
        for table in sorted(tables):
            of = [[f.name for f in self.sparse(s) if f.table == table] for s in ("request", "item")]
            of.append(events.get(table, []))
            for n in range(max(map(len, of))):
                request, item, event = (names[n] if n < len(names) else None for names in of)
                slots.append(Slot(f"{table}_{n}", table, request, item, event))
        return slots
