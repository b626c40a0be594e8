"""ItemFields: the values of one column of the items file, by which counts can be kept instead of by item.

An item without a history of its own inherits that of its brand, its category or its genres.
Shapes: N items of the catalogue, F distinct values, V values of all items.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interactrank.core.ids import id_text
from interactrank.cross_features.jagged import Jagged, starts, take
from interactrank.cross_features.pair_index import Int64s, PairIndex
from interactrank.cross_features.text import hash63, normalize

__all__ = ["ItemFields"]


class ItemFields:
    """The values of a column for each item, as numbers 0..F-1.

    Args:
        values: jagged numbers of the values of each item, none twice.
        hashes: [F] int64 ascending, the hash of each value's normalised text.
    """

    def __init__(self, values: Jagged, hashes: Int64s) -> None:
        self.values, self.hashes = values, hashes
        self._starts = starts(values)

    @property
    def num_values(self) -> int:
        """F."""
        return len(self.hashes)

    def of(self, items: Any) -> Jagged:
        """Return the values of some items.

        Example::

            >>> genres = ItemFields.from_column([["war", "drama"], None, "drama"])
            >>> genres.of(np.array([2, 0])).lengths.tolist()
            [1, 2]
        """
        return take(self.values, np.asarray(items, np.int64), self._starts)

    @classmethod
    def from_column(cls, column: Sequence[Any]) -> ItemFields:
        """Read the values of each item: text, a number, a list of them, or None.

        Example::

            >>> brands = ItemFields.from_column(["Acme", "acme ", None])  # two ways to write it
            >>> brands.num_values, brands.values.lengths.tolist()
            (1, [1, 1, 0])
        """
        rows = [_hashes(value) for value in column]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        flat = np.fromiter((h for row in rows for h in row), np.int64, int(lengths.sum()))
        hashes, numbers = np.unique(flat, return_inverse=True)
        return cls(Jagged(numbers.astype(np.int32), lengths), hashes)

    def save(self, folder: Path) -> None:
        """Write the arrays into ``folder``."""
        offsets = np.concatenate([[0], np.cumsum(self.values.lengths)])
        index = PairIndex(keys=self.hashes, offsets=offsets, items=self.values.values)
        index.save(folder)

    @classmethod
    def open(cls, folder: Path) -> ItemFields:
        """Map the arrays that :meth:`save` wrote into memory.

        Raises:
            DamagedIndexError: a file is missing, or has another size than was written.
        """
        index = PairIndex.open(folder)
        return cls(Jagged(index.items, np.diff(index.offsets)), index.keys)


def _hashes(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    texts = [normalize(t) for v in values if (t := id_text(v)) is not None]
    return list(dict.fromkeys(hash63(text) for text in texts if text))
