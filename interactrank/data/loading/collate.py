"""Collate: prepared requests and their candidates become a SearchBatch.

Shapes: R requests, I distinct items, C candidates, H heads, X history and Y lexical features, L events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.batch import SearchBatch
from interactrank.batch.layout import BatchLayout, Slot
from interactrank.cross_features.features import RequestKeys, key_spaces
from interactrank.cross_features.jagged import Jagged
from interactrank.data.arrow_lists import from_arrow, starts
from interactrank.data.loading.id_checks import check_ids, check_items
from interactrank.data.prepared.dataset import ItemTable


class BatchEvents(NamedTuple):
    """User sequences: rows of the ID tables of item and query, action and age of each event."""

    lengths: NDArray[np.int64]
    item_ids: NDArray[np.int64]
    query: NDArray[np.int64]
    action: NDArray[Any]
    age: NDArray[np.float32]


NONE = np.empty(0, np.int64)
NO_EVENTS = BatchEvents(NONE, NONE, NONE, NONE, np.empty(0, np.float32))


@dataclass(frozen=True)
class Candidates:
    """Candidates of R requests with what depends on both sides.

    Args:
        items: rows of the item table, jagged [C].
        labels: [C, H].
        weights: [C].
        iqp_rate: [C, X].
        lexical: [C, Y].
        log_q: [C] logarithm of the chance that the candidate is there; 0 for logged candidates.
    """

    items: Jagged
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    iqp_rate: NDArray[np.float32]
    lexical: NDArray[np.float32]
    log_q: NDArray[np.float32]


@dataclass(frozen=True)
class PreparedRequests:
    """The columns of some prepared requests, decoded from Arrow."""

    table: Any
    index: NDArray[np.int64]
    layout: BatchLayout
    items: ItemTable

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def jagged(self, column: str) -> Jagged:
        """A list column."""
        return from_arrow(self.table[column])

    def positions(self, column: str) -> Jagged:
        """A list column of positions in the catalogue.

        Raises:
            IdRangeError: the catalogue does not have one of them.
        """
        items = self.jagged(column)
        check_items(items.values, len(self.items), column=column)
        return items

    def matrix(self, column: str, width: int) -> NDArray[np.float32]:
        """A list column whose values are rows of ``width``."""
        if width:
            return self.jagged(column).values.reshape(-1, width)
        per_candidate = column in ("labels", "iqp_rate", "lexical")
        return np.empty(
            (len(self.jagged("candidates").values) if per_candidate else len(self), 0), np.float32
        )

    def candidates(self) -> Candidates:
        """The logged candidates."""
        schema = self.layout.schema
        items = self.positions("candidates")
        return Candidates(
            items,
            self.matrix("labels", len(schema.heads)),
            self.jagged("weights").values,
            self.matrix("iqp_rate", len(schema.iqp)),
            self.matrix("lexical", len(schema.lexical)),
            np.zeros(len(items.values), np.float32),
        )

    def events(self) -> BatchEvents:
        """The user sequences, newest event first."""
        items = self.positions("events.item")
        ids = items.values.astype(np.int64)
        if self.layout.schema.sequence is not None:
            ids = self.items.first(self.layout.schema.sequence.item, items.values)
        return BatchEvents(
            items.lengths,
            ids,
            self.jagged("events.query").values,
            self.jagged("events.action").values,
            self.jagged("events.age").values,
        )

    def take(self, rows: NDArray[np.int64]) -> PreparedRequests:
        """Some of the requests."""
        return PreparedRequests(self.table.take(rows), self.index[rows], self.layout, self.items)

    def keys(self) -> RequestKeys:
        """What the cross features of other items depend on."""
        schema = self.layout.schema
        return RequestKeys(
            {s: self.jagged(f"keys.{s.name}") for s in key_spaces(schema)},
            self.table["time"].to_numpy(),
            self.table["history_end"].to_numpy(),
            {str(a): self.jagged(f"parts.{a}") for a in {x.analyzer for x in schema.lexical}},
        )


def collate(requests: PreparedRequests, candidates: Candidates, items: ItemTable) -> SearchBatch:
    """One batch; an item that several candidates name is there once."""
    rows, candidate_item = np.unique(candidates.items.values, return_inverse=True)
    return _batch(
        requests.layout,
        requests,
        items,
        rows.astype(np.int64),
        candidate_lengths=torch.from_numpy(candidates.items.lengths),
        candidate_item=torch.from_numpy(candidate_item.astype(np.int64)),
        iqp_rate=_tensor(candidates.iqp_rate),
        lexical=_tensor(candidates.lexical),
        labels=_tensor(candidates.labels),
        weights=_tensor(candidates.weights),
        sampling_log_q=_tensor(candidates.log_q),
    )


def request_batch(requests: PreparedRequests) -> SearchBatch:
    """Requests without candidates and items: what the query tower alone needs."""
    return _batch(requests.layout, requests, None, NONE, **_no_candidates(requests.layout, len(requests)))


def item_batch(items: ItemTable, rows: NDArray[np.int64], layout: BatchLayout) -> SearchBatch:
    """Items without requests: what the item tower alone needs."""
    return _batch(layout, None, items, rows, **_no_candidates(layout, 0))


def _no_candidates(layout: BatchLayout, num_requests: int) -> dict[str, torch.Tensor]:
    schema = layout.schema
    return {
        "candidate_lengths": torch.zeros(num_requests, dtype=torch.int64),
        "candidate_item": torch.empty(0, dtype=torch.int64),
        "iqp_rate": torch.empty(0, len(schema.iqp)),
        "lexical": torch.empty(0, len(schema.lexical)),
        "labels": torch.empty(0, len(schema.heads)),
        "weights": torch.empty(0),
        "sampling_log_q": torch.empty(0),
    }


def _batch(
    layout: BatchLayout,
    requests: PreparedRequests | None,
    items: ItemTable | None,
    rows: NDArray[np.int64],
    **candidates: torch.Tensor,
) -> SearchBatch:
    num_requests = 0 if requests is None else len(requests)
    sizes = {"request": num_requests, "item": len(rows), "event": num_requests}
    found: dict[str, dict[str, Jagged]] = {"request": {}, "item": {}, "event": {}}
    if requests is not None:
        found["request"] = {f.name: requests.jagged(f"feature.{f.name}") for f in layout.sparse("request")}
    if items is not None:
        found["item"] = {f.name: items.take(f.name, rows) for f in layout.sparse("item")}
    events = requests.events() if requests is not None else NO_EVENTS
    found["event"] = {
        "item": Jagged(events.item_ids, events.lengths),
        "query": Jagged(events.query, events.lengths),
    }
    if items is None:
        item_dense = np.empty((0, layout.dense_width("item")), np.float32)
    else:
        item_dense = items.dense[rows]
    width = layout.dense_width("request")
    request_dense = np.empty((0, width), np.float32) if requests is None else requests.matrix("dense", width)
    num_features = len(layout.schema.iqp)
    support = np.empty((0, num_features), np.float32)
    if requests is not None:
        support = requests.matrix("iqp_support", num_features)
    return SearchBatch(
        request_index=torch.from_numpy(NONE if requests is None else requests.index),
        item_index=torch.from_numpy(rows),
        request_ids=_ids(layout, layout.request_slots, ("request",), found, sizes),
        item_ids=_ids(layout, layout.item_slots, ("item",), found, sizes),
        shared_ids=_ids(layout, layout.shared_slots, ("request", "item"), found, sizes),
        event_ids=_ids(layout, layout.event_slots, EVENT_SECTIONS, found, sizes),
        request_dense=_tensor(request_dense),
        item_dense=_tensor(item_dense),
        event_lengths=torch.from_numpy(events.lengths),
        event_action=torch.from_numpy(events.action.astype(np.int64)),
        event_age=_tensor(events.age),
        iqp_support=_tensor(support),
        **candidates,
    )


def _ids(
    layout: BatchLayout,
    slots: list[Slot],
    sections: tuple[str, ...],
    found: dict[str, dict[str, Jagged]],
    sizes: dict[str, int],
) -> KeyedJaggedTensor | None:
    """The ids of some slots; None where they have no rows at all."""
    if not slots or not sum(sizes[s] for s in sections):
        return None
    values, lengths = [], []
    for slot in slots:
        for section in sections:
            name = getattr(slot, section)
            jagged = found[section].get(name) if name else None
            if jagged is None:
                jagged = Jagged(NONE, np.zeros(sizes[section], np.int64))
            elif sections == EVENT_SECTIONS and section != "event":
                jagged = _one_each(jagged)
            ids = np.asarray(jagged.values, np.int64)
            feature = f"{name} of an event" if section == "event" else str(name)
            check_ids(ids, layout.id_limit(slot.table), feature=feature, table=slot.table)
            values.append(ids)
            lengths.append(jagged.lengths)
    return KeyedJaggedTensor(
        keys=[s.key for s in slots],
        values=torch.from_numpy(np.concatenate(values)),
        lengths=torch.from_numpy(np.concatenate(lengths)),
    )


EVENT_SECTIONS = ("request", "item", "event")


def _one_each(jagged: Jagged) -> Jagged:
    """Unpooled tables give one vector a row: the first value of each; every row has one."""
    return Jagged(jagged.values[starts(jagged)], np.ones(len(jagged.lengths), np.int64))


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32, copy=True, order="C"))
