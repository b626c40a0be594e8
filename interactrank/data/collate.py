"""Collate: prepared requests and their candidates become a SearchBatch.

Shapes: R requests, I distinct items, C candidates, H heads, X history and Y lexical features, L events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.batch import BatchLayout, SearchBatch, Slot
from interactrank.data.jagged import from_arrow, take
from interactrank.data.prepared import ItemTable
from interactrank.iqp.features import Jagged, RequestKeys, key_spaces

EMPTY = Jagged(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Candidates:
    """Candidates of R requests with what depends on both sides.

    Args:
        items: rows of the item table, jagged [C].
        labels: [C, H].
        weights: [C].
        iqp_rate: [C, X].
        lexical: [C, Y].
        log_q: [C] logarithm of the expected number of draws; 0 for logged candidates.
    """

    items: Jagged
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    iqp_rate: NDArray[np.float32]
    lexical: NDArray[np.float32]
    log_q: NDArray[np.float32]


@dataclass(frozen=True)
class Requests:
    """The columns of some prepared requests, decoded from Arrow."""

    table: Any
    index: NDArray[np.int64]
    layout: BatchLayout

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def jagged(self, column: str) -> Jagged:
        """A list column."""
        return from_arrow(self.table[column])

    def matrix(self, column: str, width: int) -> NDArray[np.float32]:
        """A list column whose values are rows of ``width``."""
        values = self.jagged(column).values
        return values.reshape(-1, width) if width else np.empty((self._rows(column), 0), np.float32)

    def _rows(self, column: str) -> int:
        per_candidate = column in ("labels", "iqp_rate", "lexical")
        return int(self.jagged("candidates").lengths.sum()) if per_candidate else len(self)

    def candidates(self) -> Candidates:
        """The logged candidates."""
        schema = self.layout.schema
        items = self.jagged("candidates")
        return Candidates(
            items,
            self.matrix("labels", len(schema.heads)),
            self.jagged("weights").values,
            self.matrix("iqp_rate", len(schema.iqp)),
            self.matrix("lexical", len(schema.lexical)),
            np.zeros(len(items.values), np.float32),
        )

    def keys(self) -> RequestKeys:
        """What the cross features of other items depend on."""
        schema = self.layout.schema
        return RequestKeys(
            {s: self.jagged(f"keys.{s.name}") for s in key_spaces(schema)},
            self.table["time"].to_numpy(),
            self.table["history_end"].to_numpy(),
            {str(a): self.jagged(f"parts.{a}") for a in {x.analyzer for x in schema.lexical}},
        )


def collate(requests: Requests, candidates: Candidates, items: ItemTable) -> SearchBatch:
    """One batch; an item that several candidates name is there once."""
    layout = requests.layout
    rows, candidate_item = np.unique(candidates.items.values, return_inverse=True)
    of_requests = {f.name: requests.jagged(f"feature.{f.name}") for f in layout.sparse("request")}
    of_items = {f.name: take(items.features[f.name], rows) for f in layout.sparse("item")}
    events = requests.jagged("events.item")
    of_events = {"item": EMPTY, "query": EMPTY}
    if layout.schema.sequence is not None:
        first = _first(items.features[layout.schema.sequence.item])
        of_events["item"] = Jagged(first[events.values], events.lengths)
        of_events["query"] = requests.jagged("events.query")
    sizes = {"request": len(requests), "item": len(rows), "event": len(requests)}
    found = {"request": of_requests, "item": of_items, "event": of_events}

    def ids(slots: list[Slot], sections: tuple[str, ...]) -> KeyedJaggedTensor | None:
        if not slots:
            return None
        values, lengths = [], []
        for slot in slots:
            for section in sections:
                name = getattr(slot, section)
                jagged = (
                    found[section][name] if name else Jagged(EMPTY.values, np.zeros(sizes[section], np.int64))
                )
                if sections == EVENT_SECTIONS and section != "event" and name:
                    jagged = _one_each(jagged)
                values.append(jagged.values)
                lengths.append(jagged.lengths)
        return KeyedJaggedTensor(
            keys=[s.key for s in slots],
            values=torch.from_numpy(np.concatenate(values).astype(np.int64, copy=False)),
            lengths=torch.from_numpy(np.concatenate(lengths)),
        )

    return SearchBatch(
        request_index=torch.from_numpy(requests.index),
        item_index=torch.from_numpy(rows.astype(np.int64)),
        candidate_lengths=torch.from_numpy(candidates.items.lengths),
        candidate_item=torch.from_numpy(candidate_item.astype(np.int64)),
        request_ids=ids(layout.request_slots, ("request",)),
        item_ids=ids(layout.item_slots, ("item",)),
        shared_ids=ids(layout.shared_slots, ("request", "item")),
        event_ids=ids(layout.event_slots, EVENT_SECTIONS),
        request_dense=_tensor(requests.matrix("dense", layout.dense_width("request"))),
        item_dense=_tensor(items.dense[rows]),
        event_lengths=torch.from_numpy(events.lengths),
        event_action=torch.from_numpy(requests.jagged("events.action").values.astype(np.int64)),
        event_age=_tensor(requests.jagged("events.age").values),
        iqp_rate=_tensor(candidates.iqp_rate),
        iqp_support=_tensor(requests.matrix("iqp_support", len(layout.schema.iqp))),
        lexical=_tensor(candidates.lexical),
        labels=_tensor(candidates.labels),
        weights=_tensor(candidates.weights),
        sampling_log_q=_tensor(candidates.log_q),
    )


EVENT_SECTIONS = ("request", "item", "event")


def _first(jagged: Jagged) -> NDArray[np.int64]:
    """First value of each row; every row has one."""
    return np.asarray(jagged.values[np.cumsum(jagged.lengths) - jagged.lengths], np.int64)


def _one_each(jagged: Jagged) -> Jagged:
    """Unpooled tables give one vector a row: the first value of each."""
    return Jagged(_first(jagged), np.ones(len(jagged.lengths), np.int64))


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32, copy=True, order="C"))
