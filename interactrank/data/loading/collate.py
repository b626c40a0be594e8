"""Collate: prepared requests and their candidates become a SearchBatch.

Shapes: R requests, I distinct items, C candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.batch import CrossFeatureTensors, SearchBatch
from interactrank.batch.layout import BatchLayout, Slot
from interactrank.cross_features import CrossColumns
from interactrank.cross_features.jagged import Jagged, starts
from interactrank.data.loading.id_checks import check_ids
from interactrank.data.loading.prepared_requests import BatchEvents, Candidates, PreparedRequests
from interactrank.data.prepared.columns import CROSS_SUPPORT, DENSE, feature_column
from interactrank.data.prepared.items import ItemTable

__all__ = ["collate", "item_batch", "request_batch"]

EVENT_SECTIONS = ("request", "item", "event")
NONE = np.empty(0, np.int64)
NO_EVENTS = BatchEvents(NONE, NONE, NONE, NONE, np.empty(0, np.float32))


def collate(
    requests: PreparedRequests,
    candidates: Candidates,
    items: ItemTable,
    fits_projection: NDArray[np.bool_] | None = None,
) -> SearchBatch:
    """Return one batch; an item that several candidates name is there once.

    Args:
        requests: R of them.
        candidates: theirs.
        items: the catalogue.
        fits_projection: [R] see :class:`~interactrank.batch.SearchBatch`.
    """
    rows, candidate_item = np.unique(candidates.items.values, return_inverse=True)
    return _batch(
        requests.layout,
        requests,
        items,
        rows.astype(np.int64),
        candidate_lengths=torch.from_numpy(candidates.items.lengths),
        candidate_item=torch.from_numpy(candidate_item.astype(np.int64)),
        rate=candidates.rate,
        number=candidates.number,
        counts=candidates.counts,
        labels=_tensor(candidates.labels),
        weights=_tensor(candidates.weights),
        sampling_log_q=_tensor(candidates.log_q),
        position=candidates.position,
        fits_projection=fits_projection,
    )


def request_batch(requests: PreparedRequests) -> SearchBatch:
    """Return requests without candidates and items: what the query tower alone needs."""
    return _batch(requests.layout, requests, None, NONE, **_no_candidates(requests.layout, len(requests)))


def item_batch(items: ItemTable, rows: NDArray[np.int64], layout: BatchLayout) -> SearchBatch:
    """Return items without requests: what the item tower alone needs."""
    return _batch(layout, None, items, rows, **_no_candidates(layout, 0))


def _no_candidates(layout: BatchLayout, num_requests: int) -> dict[str, Any]:
    columns = CrossColumns.of(layout.schema)
    return {
        "candidate_lengths": torch.zeros(num_requests, dtype=torch.int64),
        "candidate_item": torch.empty(0, dtype=torch.int64),
        "rate": np.empty((0, len(columns.rates)), np.float32),
        "number": np.empty((0, len(columns.numbers)), np.float32),
        "counts": np.empty((0, 2 * len(columns.ratios)), np.float32),
        "labels": torch.empty(0, len(layout.schema.heads)),
        "weights": torch.empty(0),
        "sampling_log_q": torch.empty(0),
    }


def _batch(
    layout: BatchLayout,
    requests: PreparedRequests | None,
    items: ItemTable | None,
    rows: NDArray[np.int64],
    *,
    rate: NDArray[np.float32],
    number: NDArray[np.float32],
    counts: NDArray[np.float32],
    position: NDArray[np.int64] | None = None,
    fits_projection: NDArray[np.bool_] | None = None,
    **candidates: torch.Tensor,
) -> SearchBatch:
    num_requests = 0 if requests is None else len(requests)
    sizes = {"request": num_requests, "item": len(rows), "event": num_requests}
    found: dict[str, dict[str, Jagged]] = {"request": {}, "item": {}, "event": {}}
    if requests is not None:
        found["request"] = {f.name: requests.jagged(feature_column(f.name)) for f in layout.sparse("request")}
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
    request_dense = np.empty((0, width), np.float32) if requests is None else requests.matrix(DENSE, width)
    support = np.empty((0, rate.shape[1]), np.float32)
    if requests is not None:
        support = requests.matrix(CROSS_SUPPORT, rate.shape[1])
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
        cross=CrossFeatureTensors(_tensor(rate), _tensor(support), _tensor(number), _tensor(counts)),
        position=None if position is None else torch.from_numpy(np.ascontiguousarray(position)),
        fits_projection=None if fits_projection is None else torch.from_numpy(fits_projection),
        **candidates,
    )


def _ids(
    layout: BatchLayout,
    slots: list[Slot],
    sections: tuple[str, ...],
    found: dict[str, dict[str, Jagged]],
    sizes: dict[str, int],
) -> KeyedJaggedTensor | None:
    """Return the ids of some slots; None if they have no rows at all.

    A slot is one key of the tensor. Its rows are those of all its sections, one section after the other
    (requests, then items), so that a table that several sections use is looked up once. A section in which
    the slot has no feature gives empty rows: every key of a KeyedJaggedTensor has equally many rows.
    """
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


def _one_each(jagged: Jagged) -> Jagged:
    """Return the first value of each row, as unpooled tables give one vector a row; every row has one."""
    return Jagged(jagged.values[starts(jagged)], np.ones(len(jagged.lengths), np.int64))


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32, copy=True, order="C"))
