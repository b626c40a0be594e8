"""The loader that one would write first: torch's DataLoader over rows, padded and collated by Python.

Shapes: B requests of a batch, C candidates at most, W values at most, L events at most.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from interactrank.batch import SearchBatch
from interactrank.cross_features import CrossColumns
from interactrank.data.prepared.dataset import PreparedDataset

Row = dict[str, Any]


def padded_loader(
    log: PreparedDataset, columns: list[str], size: int, limit: int
) -> tuple[int, DataLoader[Any]]:
    """Training rows read (at most ``limit``), and a loader of them in order of time, ``size`` in a batch."""
    table = log.read("train", columns).slice(0, limit)
    rows = [row | {"row": n} for n, row in enumerate(table.to_pylist())]
    items = item_rows(log)
    # A list serves as a Dataset, though it is none by type.
    return len(rows), DataLoader(rows, batch_size=size, collate_fn=lambda batch: collate(log, items, batch))  # type: ignore[arg-type]


def item_rows(log: PreparedDataset) -> dict[str, list[list[int]]]:
    """Values of each feature of each item."""
    found = {}
    for name, jagged in log.items.features.items():
        values = torch.split(torch.from_numpy(jagged.values.copy()), jagged.lengths.tolist())
        found[name] = [v.tolist() for v in values]
    return found


def collate(log: PreparedDataset, items: dict[str, list[list[int]]], rows: list[Row]) -> dict[str, Tensor]:
    """Tensors of all features, padded by 0 (ids by -1)."""
    schema = log.schema
    columns = CrossColumns.of(schema)
    heads, rates, numbers = len(schema.heads), len(columns.rates), len(columns.numbers)
    most = max(len(row["candidates"]) for row in rows)
    events = max(len(row["events.item"]) for row in rows)
    event_ids = items[schema.sequence.item] if schema.sequence else []
    out: dict[str, Tensor] = {
        "request_index": torch.tensor([row["row"] for row in rows]),
        "candidate_lengths": torch.tensor([len(row["candidates"]) for row in rows]),
        "event_lengths": torch.tensor([len(row["events.item"]) for row in rows]),
        "items": ints([row["candidates"] for row in rows], most),
        "weights": floats([row["weights"] for row in rows], most),
        "labels": floats([row["labels"] for row in rows], most * heads).view(-1, most, heads),
        "rate": floats([row["cross.rate"] for row in rows], most * rates).view(-1, most, rates),
        "number": floats([row["cross.number"] for row in rows], most * numbers).view(-1, most, numbers),
        "support": floats([row["cross.support"] for row in rows], rates),
        "event_ids": ints([[event_ids[i][0] for i in row["events.item"]] for row in rows], events),
        "event_action": ints([row["events.action"] for row in rows], events),
        "event_age": floats([row["events.age"] for row in rows], events),
    }
    for f in log.layout.sparse("request"):
        values = [row[f"feature.{f.name}"] for row in rows]
        out[f.name] = ints(values, max(map(len, values)))
    for f in log.layout.sparse("item"):
        of = [[items[f.name][i] for i in row["candidates"]] for row in rows]
        width = max(len(v) for candidates in of for v in candidates)
        flat = ints([v for candidates in of for v in candidates + [[]] * (most - len(candidates))], width)
        out[f.name] = flat.view(-1, most, width)
    return out


def ints(rows: list[list[int]], width: int) -> Tensor:
    """[B, width], -1 where a row is shorter."""
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows]).view(len(rows), width)


def floats(rows: list[list[float]], width: int) -> Tensor:
    """[B, width], 0 where a row is shorter."""
    return torch.tensor([row + [0.0] * (width - len(row)) for row in rows]).view(len(rows), width)


def check_equal(log: PreparedDataset, batch: SearchBatch, padded: dict[str, Tensor]) -> None:
    """Raises an AssertionError where a batch of the library's loader holds other values."""

    def same(name: str, jagged: Tensor, filled: Tensor) -> None:
        torch.testing.assert_close(
            jagged, padded[name][filled], rtol=0, atol=0, msg=lambda m: f"{name}: {m}", check_dtype=False
        )

    for name in ("request_index", "candidate_lengths", "event_lengths"):
        same(name, getattr(batch, name), torch.ones(batch.num_requests, dtype=torch.bool))
    filled = padded["items"] >= 0
    same("items", batch.item_index[batch.candidate_item], filled)
    for name in ("weights", "labels"):
        same(name, getattr(batch, name), filled)
    for name in ("rate", "number"):
        same(name, getattr(batch.cross, name), filled)
    same("support", batch.cross.support, torch.ones(batch.num_requests, dtype=torch.bool))
    happened = padded["event_ids"] >= 0
    same("event_action", batch.event_action, happened)
    same("event_age", batch.event_age, happened)
    layout, found = log.layout, {}
    sizes = {"request": batch.num_requests, "item": batch.num_items, "event": batch.num_requests}
    for slots, ids, sections in (
        (layout.request_slots, batch.request_ids, ("request",)),
        (layout.item_slots, batch.item_ids, ("item",)),
        (layout.shared_slots, batch.shared_ids, ("request", "item")),
        (layout.event_slots, batch.event_ids, ("request", "item", "event")),
    ):
        for slot in slots:
            rows = iter(torch.split(ids[slot.key].values(), ids[slot.key].lengths().tolist()))
            for side in sections:
                of_side = list(itertools.islice(rows, sizes[side]))
                if getattr(slot, side):
                    found[side, getattr(slot, side)] = of_side
    for f in layout.sparse("request"):
        same(f.name, torch.cat(found["request", f.name]), padded[f.name] >= 0)
    for f in layout.sparse("item"):
        values = [found["item", f.name][i] for i in batch.candidate_item.tolist()]
        same(f.name, torch.cat(values), padded[f.name] >= 0)
    same("event_ids", torch.cat(found["event", "item"]), happened)
