"""SearchTables: the ID tables of a model, each in exactly one TorchRec collection, and their look-up.

Shapes: R requests, I distinct items, L events, d width of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.batch import BatchLayout, SearchBatch, Slot
from interactrank.modules import TableConfig, embedding_bag_collection, embedding_collection


class Looked(NamedTuple):
    """Embeddings of a batch by feature name: ``request`` [R, d], ``item`` [I, d], ``event`` [L, d]."""

    request: dict[str, Tensor]
    item: dict[str, Tensor]
    event: dict[str, Tensor]


def collection_name(table: str) -> str:
    """What a table of the schema is called in its collection.

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
        layout: which table serves which features.
        init_scale: first weights lie uniformly in +-init_scale.
        device: where the weights are; on ``meta`` each rank makes those of its parts when it shards.
    """

    def __init__(self, *, layout: BatchLayout, init_scale: float, device: torch.device | None = None) -> None:
        super().__init__()
        self._slots = {
            "requests": layout.request_slots,
            "items": layout.item_slots,
            "shared": layout.shared_slots,
            "events": layout.event_slots,
        }

        def tables(slots: list[Slot], *, pooled: bool) -> list[TableConfig]:
            return [
                TableConfig(
                    name=collection_name(table),
                    rows=layout.table_rows[table],
                    dim=layout.schema.tables[table].dim,
                    features=[s.key for s in slots if s.table == table],
                    pooling=layout.schema.tables[table].pooling if pooled else None,
                    init_scale=init_scale,
                )
                for table in dict.fromkeys(s.table for s in slots)
            ]

        def bags(slots: list[Slot]) -> EmbeddingBagCollection | None:
            return embedding_bag_collection(tables(slots, pooled=True), device=device) if slots else None

        self.requests = bags(layout.request_slots)
        self.items = bags(layout.item_slots)
        self.shared = bags(layout.shared_slots)
        events = tables(layout.event_slots, pooled=False)
        self.events = embedding_collection(events, device=device) if events else None

    def forward(self, batch: SearchBatch) -> Looked:
        """Embeddings of all features of the batch.

        Args:
            batch: its ids; where one side is absent, that side's embeddings are empty or absent.

        Returns:
            One row per request, item and event.
        """
        found = Looked({}, {}, {})
        requests, items, events = batch.num_requests, batch.num_items, batch.event_action.shape[0]
        self._pool(self.requests, batch.request_ids, "requests", {"request": requests}, found)
        self._pool(self.items, batch.item_ids, "items", {"item": items}, found)
        self._pool(self.shared, batch.shared_ids, "shared", {"request": requests, "item": items}, found)
        if self.events is not None and batch.event_ids is not None:
            rows = self.events(batch.event_ids)
            sizes = {"request": requests, "item": items, "event": events}
            for slot in self._slots["events"]:
                # An unpooled key has as many rows as ids, and none where no feature fills a section.
                filled = {section: n for section, n in sizes.items() if getattr(slot, section) is not None}
                _split(rows[slot.key].values(), slot, filled, found)
        return found

    def _pool(
        self,
        bags: EmbeddingBagCollection | None,
        ids: KeyedJaggedTensor | None,
        collection: str,
        sizes: Mapping[str, int],
        found: Looked,
    ) -> None:
        if bags is not None and ids is not None:
            pooled = bags(ids)
            for slot in self._slots[collection]:
                _split(pooled[slot.key], slot, sizes, found)


def _split(rows: Tensor, slot: Slot, sizes: Mapping[str, int], found: Looked) -> None:
    """Hands the rows of a key to the features that fill its sections, which lie one behind the other."""
    start = 0
    for section, size in sizes.items():
        feature = getattr(slot, section)
        if feature is not None:
            getattr(found, section)[feature] = rows[start : start + size]
        start = start + size
