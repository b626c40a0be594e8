"""SearchTables: the ID tables of a model, each in exactly one TorchRec collection, and their look-up.

Shapes: R requests, I distinct items, L events, d width of a table.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig, EmbeddingConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.batch import BatchLayout, SearchBatch, Slot


class Looked(NamedTuple):
    """Embeddings of a batch by feature name: ``request`` [R, d], ``item`` [I, d], ``event`` [L, d]."""

    request: dict[str, Tensor]
    item: dict[str, Tensor]
    event: dict[str, Tensor]


class SearchTables(nn.Module):
    """Looks up every ID feature of a batch.

    Args:
        layout: which table serves which features.
        std: standard deviation of the first weights.
    """

    def __init__(self, *, layout: BatchLayout, std: float) -> None:
        super().__init__()
        self._slots = {
            "requests": layout.request_slots,
            "items": layout.item_slots,
            "shared": layout.shared_slots,
            "events": layout.event_slots,
        }
        tables = layout.schema.tables
        pooling = {"mean": PoolingType.MEAN, "sum": PoolingType.SUM}

        def configs(slots: list[Slot], kind: Any) -> list[Any]:
            return [
                kind(
                    name=table,
                    num_embeddings=layout.table_rows[table],
                    embedding_dim=tables[table].dim,
                    feature_names=[s.key for s in slots if s.table == table],
                    init_fn=partial(nn.init.normal_, std=std),
                    **({"pooling": pooling[tables[table].pooling]} if kind is EmbeddingBagConfig else {}),
                )
                for table in dict.fromkeys(s.table for s in slots)
            ]

        self.requests = _bags(configs(layout.request_slots, EmbeddingBagConfig))
        self.items = _bags(configs(layout.item_slots, EmbeddingBagConfig))
        self.shared = _bags(configs(layout.shared_slots, EmbeddingBagConfig))
        events = configs(layout.event_slots, EmbeddingConfig)
        self.events = EmbeddingCollection(tables=events) if events else None

    def forward(self, batch: SearchBatch) -> Looked:
        """Embeddings of all features of the batch."""
        found = Looked({}, {}, {})
        sizes = {"request": batch.num_requests, "item": batch.num_items, "event": batch.event_action.shape[0]}
        self._pool(self.requests, batch.request_ids, "requests", {"request": sizes["request"]}, found)
        self._pool(self.items, batch.item_ids, "items", {"item": sizes["item"]}, found)
        shared = {"request": sizes["request"], "item": sizes["item"]}
        self._pool(self.shared, batch.shared_ids, "shared", shared, found)
        if self.events is not None and batch.event_ids is not None:
            jagged = self.events(batch.event_ids)
            for slot in self._slots["events"]:
                values, start = jagged[slot.key].values(), 0
                for section, size in sizes.items():
                    name = getattr(slot, section)
                    if name is not None:
                        getattr(found, section)[name] = values[start : start + size]
                        start += size
        return found

    def _pool(
        self,
        bags: EmbeddingBagCollection | None,
        ids: KeyedJaggedTensor | None,
        collection: str,
        sizes: dict[str, int],
        found: Looked,
    ) -> None:
        if bags is None or ids is None:
            return
        pooled = bags(ids)
        for slot in self._slots[collection]:
            rows, start = pooled[slot.key], 0
            for section, size in sizes.items():
                name = getattr(slot, section)
                if name is not None:
                    getattr(found, section)[name] = rows[start : start + size]
                start += size


def _bags(configs: list[EmbeddingBagConfig]) -> EmbeddingBagCollection | None:
    return EmbeddingBagCollection(tables=configs) if configs else None
