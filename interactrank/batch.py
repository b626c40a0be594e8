"""SearchBatch: requests, items and candidates as TorchRec tensors; what flows through every room.

Shapes: R requests, I distinct items, C candidates (jagged under their request), H heads, L events of all
user sequences, X history (IQP) features, Y lexical features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from interactrank.schema import MANAGED_ID_LIMIT, Feature, SearchSchema


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
        """Keys of ``request_ids``."""
        return [Slot(f.name, t, request=f.name) for f, t in self._pooled() if t in self._only("request")]

    @cached_property
    def item_slots(self) -> list[Slot]:
        """Keys of ``item_ids``."""
        return [Slot(f.name, t, item=f.name) for f, t in self._pooled() if t in self._only("item")]

    @cached_property
    def shared_slots(self) -> list[Slot]:
        """Keys of ``shared_ids``: the n-th request and the n-th item feature of a table share a key."""
        return self._paired({t for _, t in self._pooled()} - self._only("request") - self._only("item"), {})

    @cached_property
    def event_slots(self) -> list[Slot]:
        """Keys of ``event_ids``."""
        events: dict[str, list[str]] = {}
        s = self.schema.sequence
        if s is not None:
            events.setdefault(str(self.schema.feature(s.item).table), []).append("item")
            if s.query is not None:
                events.setdefault(str(self.schema.feature(s.query).table), []).append("query")
        return self._paired(self.schema.sequence_tables, events)

    def id_limit(self, table: str) -> int:
        """Ids of a table are below it: its rows, or for a managed table the range of hashes."""
        managed = self.schema.tables[table].ids == "managed"
        return MANAGED_ID_LIMIT if managed else self.table_rows[table]

    def sparse(self, side: str) -> list[Feature]:
        """Looked-up features of ``request`` or ``item``."""
        return [f for f in getattr(self.schema.features, side) if f.is_sparse]

    def numbers(self, side: str) -> list[Feature]:
        """Number features of ``request`` or ``item``: the first columns of its dense tensor."""
        return [f for f in getattr(self.schema.features, side) if f.kind == "number"]

    def vectors(self, side: str) -> list[Feature]:
        """Vector features of ``request`` or ``item``: the columns after the numbers."""
        return [f for f in getattr(self.schema.features, side) if f.kind == "vector"]

    def dense_width(self, side: str) -> int:
        """Columns of ``request_dense`` or ``item_dense``."""
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


@dataclass
class SearchBatch(Pipelineable):
    """R requests with their candidates; queries and items appear once, however many candidates name them.

    Args:
        request_index: [R] int64, row of each request in its split.
        item_index: [I] int64, row of each item in the item table; no item twice.
        candidate_lengths: [R] int64, candidates of each request; they lie one request after the other.
        candidate_item: [C] int64 in 0..I-1, the item of each candidate.
        request_ids, item_ids, shared_ids, event_ids: ids in the keys and rows of :class:`BatchLayout`;
            None where the schema needs no such collection.
        request_dense: [R, *] float32, numbers then vectors; NaN where the log has none.
        item_dense: [I, *] float32, likewise.
        event_lengths: [R] int64, events of each user sequence; newest first.
        event_action: [L] int64, which engagement it was.
        event_age: [L] float32, hours from the event to the request, above 0.
        iqp_rate: [C, X] float32 in 0..1, C(p, key) / C(key) as of the request.
        iqp_support: [R, X] float32, C(key); 0 where the key has no history.
        lexical: [C, Y] float32, match of the query's and the item's text.
        labels: [C, H] float32, 0 or 1.
        weights: [C] float32, weight of each candidate in the loss.
        sampling_log_q: [C] float32, logarithm of the chance that the candidate was drawn as a negative; 0 for
            logged candidates.
    """

    request_index: Tensor
    item_index: Tensor
    candidate_lengths: Tensor
    candidate_item: Tensor
    request_ids: KeyedJaggedTensor | None
    item_ids: KeyedJaggedTensor | None
    shared_ids: KeyedJaggedTensor | None
    event_ids: KeyedJaggedTensor | None
    request_dense: Tensor
    item_dense: Tensor
    event_lengths: Tensor
    event_action: Tensor
    event_age: Tensor
    iqp_rate: Tensor
    iqp_support: Tensor
    lexical: Tensor
    labels: Tensor
    weights: Tensor
    sampling_log_q: Tensor

    @property
    def num_requests(self) -> int:
        """R."""
        return self.request_index.shape[0]

    @property
    def num_items(self) -> int:
        """I."""
        return self.item_index.shape[0]

    @property
    def num_candidates(self) -> int:
        """C."""
        return self.candidate_item.shape[0]

    def candidate_request(self) -> Tensor:
        """[C] int64 in 0..R-1: the request of each candidate."""
        requests = torch.arange(self.num_requests, device=self.candidate_lengths.device)
        return torch.repeat_interleave(requests, self.candidate_lengths, output_size=self.num_candidates)

    def to(self, device: torch.device, non_blocking: bool = False) -> SearchBatch:
        """A copy on ``device``."""
        return self._map(lambda value: value.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> SearchBatch:
        """A copy in page-locked memory, from which copies to a GPU overlap with work."""
        return self._map(lambda value: value.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the tensors' memory until ``stream`` is done with them."""
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                value.record_stream(stream)

    def _map(self, change: Callable[[Any], Any]) -> SearchBatch:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(v) for name, v in values.items() if v is not None})
