"""ItemTable: the catalogue of a dataset in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from interactrank.batch.layout import BatchLayout
from interactrank.cross_features.jagged import Jagged, starts, take
from interactrank.cross_features.pair_index import Int64s, Ints
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.extras import pq
from interactrank.data.prepared.columns import DENSE, ITEM_ID, ITEMS_FILE, TRAIN_COUNT, feature_column

__all__ = ["ItemTable", "Items"]


class Items(Protocol):
    """What requests need to know of a catalogue: how many items, and the ids of those in user sequences."""

    def __len__(self) -> int: ...

    def first(self, feature: str, rows: Ints) -> Int64s:
        """Return the first ID table row of a feature of some items."""


@dataclass(frozen=True)
class ItemTable:
    """What the item tower sees of every item of the catalogue.

    Args:
        ids: [N] the log's own item ids.
        train_count: [N] candidates of the item in training.
        features: rows of ID tables of each sparse feature, jagged [N].
        dense: [N, *] float32, numbers then vectors.
    """

    ids: list[str]
    train_count: NDArray[np.int64]
    features: dict[str, Jagged]
    dense: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def read(cls, folder: Path, layout: BatchLayout) -> ItemTable:
        """Read the items of the dataset in ``folder``."""
        table = pq.read_table(folder / ITEMS_FILE)
        features = {f.name: from_arrow(table[feature_column(f.name)]) for f in layout.sparse("item")}
        dense = from_arrow(table[DENSE]).values.reshape(len(table), layout.dense_width("item"))
        return cls(table[ITEM_ID].to_pylist(), table[TRAIN_COUNT].to_numpy(), features, dense)

    @cached_property
    def _starts(self) -> dict[str, Int64s]:
        """Computed once: a batch must not pay for the length of the catalogue."""
        return {name: starts(jagged) for name, jagged in self.features.items()}

    def take(self, feature: str, rows: Int64s) -> Jagged:
        """Return the ID table rows of a feature of some items."""
        return take(self.features[feature], rows, self._starts[feature])

    def first(self, feature: str, rows: Ints) -> Int64s:
        """Return the first ID table row of a feature of some items; every item has one."""
        return np.asarray(self.features[feature].values[self._starts[feature][rows]], np.int64)
