"""SearchTables: the ID tables of a model, each in exactly one TorchRec collection, and their look-up.

Shapes: R requests, I distinct items, L events, d width of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor

from interactrank.batch import SearchBatch
from interactrank.batch.layout import BatchLayout, Slot
from interactrank.modules import Eviction, TableConfig, embedding_bag_collection, embedding_collection, manage
from interactrank.modules.managed import STATE_BYTES


class Looked(NamedTuple):
    """Embeddings of a batch by feature name: ``request`` [R, d], ``item`` [I, d], ``event`` [L, d]."""

    request: dict[str, Tensor]
    item: dict[str, Tensor]
    event: dict[str, Tensor]


def collection_name(table: str) -> str:
    """Return what a table of the schema is called in its collection.

    TorchRec keeps tables in a ``ModuleDict``, which refuses the names of its own attributes. Names of the
    schema are in lower case, so that a capital makes another name of them.

    Example::

        >>> collection_name("item"), collection_name("items")
        ('item', 'Items')
    """
    return table.capitalize() if hasattr(nn.ModuleDict(), table) else table


class SearchTables(nn.Module):
    """Looks up every ID feature of a batch, each collection once.

    Args:
        layout: which table serves which features; managed ones lie in collections of their own.
        init_scale: first weights lie uniformly in +-init_scale.
        device: where the weights are; on ``meta`` each rank makes those of its parts when it shards.
    """

    def __init__(self, *, layout: BatchLayout, init_scale: float, device: torch.device | None = None) -> None:
        super().__init__()
        schema = layout.schema
        slots = {
            "requests": layout.request_slots,
            "items": layout.item_slots,
            "shared": layout.shared_slots,
            "events": layout.event_slots,
        }
        managed = {name for name, table in schema.tables.items() if table.ids == "managed"}
        self._slots = {kind: [s for s in of if s.table not in managed] for kind, of in slots.items()}
        self._slots |= {f"managed_{k}": [s for s in of if s.table in managed] for k, of in slots.items()}

        def tables(slots: list[Slot], *, pooled: bool) -> list[TableConfig]:
            return [
                TableConfig(
                    name=collection_name(table),
                    rows=layout.table_rows[table],
                    dim=schema.tables[table].dim,
                    features=[s.key for s in slots if s.table == table],
                    pooling=schema.tables[table].pooling if pooled else None,
                    init_scale=init_scale,
                )
                for table in dict.fromkeys(s.table for s in slots)
            ]

        def evictions(slots: list[Slot]) -> dict[str, Eviction]:
            found = {}
            for name in {slot.table for slot in slots}:
                of = schema.tables[name]
                found[collection_name(name)] = Eviction(
                    policy=of.eviction, interval=of.eviction_interval, buckets=of.buckets
                )
            return found

        def collection(kind: str) -> Any:
            slots = self._slots[kind]
            if not slots:
                return None
            if kind.endswith("events"):
                made: Any = embedding_collection(tables(slots, pooled=False), device=device)
            else:
                made = embedding_bag_collection(tables(slots, pooled=True), device=device)
            return manage(made, evictions(slots)) if kind.startswith("managed") else made

        self.requests = collection("requests")
        self.items = collection("items")
        self.shared = collection("shared")
        self.events = collection("events")
        self.managed_requests = collection("managed_requests")
        self.managed_items = collection("managed_items")
        self.managed_shared = collection("managed_shared")
        self.managed_events = collection("managed_events")

    def forward(self, batch: SearchBatch) -> Looked:
        """Embeddings of all features of the batch.

        Args:
            batch: its ids; where one side is absent, that side's embeddings are empty or absent.

        Returns:
            One row per request, item and event.
        """
        found = Looked({}, {}, {})
        requests, items, events = batch.num_requests, batch.num_items, batch.event_action.shape[0]
        self._pool("requests", batch.request_ids, {"request": requests}, found)
        self._pool("items", batch.item_ids, {"item": items}, found)
        self._pool("shared", batch.shared_ids, {"request": requests, "item": items}, found)
        if batch.event_ids is not None:
            sizes = {"request": requests, "item": items, "event": events}
            if self.events is not None:
                self._rows("events", self.events(batch.event_ids), sizes, found)
            if self.managed_events is not None:
                self._rows("managed_events", self.managed_events(batch.event_ids)[0], sizes, found)
        return found

    def _pool(
        self, kind: str, ids: KeyedJaggedTensor | None, sizes: Mapping[str, int], found: Looked
    ) -> None:
        bags, managed = getattr(self, kind), getattr(self, f"managed_{kind}")
        if bags is not None and ids is not None:
            pooled = bags(ids)
            for slot in self._slots[kind]:
                _split(pooled[slot.key], slot, sizes, found)
        if managed is not None and ids is not None:
            pooled = managed(ids)[0]
            for slot in self._slots[f"managed_{kind}"]:
                _split(pooled[slot.key], slot, sizes, found)

    def _rows(
        self, kind: str, rows: Mapping[str, JaggedTensor], sizes: Mapping[str, int], found: Looked
    ) -> None:
        for slot in self._slots[kind]:
            # An unpooled key has as many rows as ids, and none where no feature fills a section.
            filled = {section: n for section, n in sizes.items() if getattr(slot, section) is not None}
            _split(rows[slot.key].values(), slot, filled, found)


def _split(rows: Tensor, slot: Slot, sizes: Mapping[str, int], found: Looked) -> None:
    """Hands the rows of a key to the features that fill its sections, which lie one behind the other."""
    start = 0
    for section, size in sizes.items():
        feature = getattr(slot, section)
        if feature is not None:
            getattr(found, section)[feature] = rows[start : start + size]
        start = start + size


def table_bytes(layout: BatchLayout) -> int:
    """Return the bytes of a model's whole tables: float32 weights, and the ids of managed tables.

    Args:
        layout: which tables there are, and their rows.
    """
    tables = layout.schema.tables
    return sum(
        rows * (4 * tables[name].dim + (STATE_BYTES if tables[name].ids == "managed" else 0))
        for name, rows in layout.table_rows.items()
    )
