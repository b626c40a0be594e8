"""How values become ids: rows of a vocabulary counted in training, hashed rows, or ids of a managed table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactrank.core.files import atomic_write
from interactrank.core.managed_ids import ID_LIMIT
from interactrank.cross_features.text import hash63
from interactrank.data.extras import pa, pq
from interactrank.schema.tables import IdTable

__all__ = ["Vocabulary"]


class Vocabulary:
    """Ids of one ID table; 0 stands for values without a row of their own, and for missing ones.

    The ids of a vocabulary and of a hashed table are its rows. Those of a managed table are 62 bits of the
    value's hash, for which the model finds a row.

    Args:
        table: the table's settings.
        values: the values of rows 1, 2, ...; None for a row whose value was forgotten; empty for a table of
            given rows.

    Example::

        >>> colours = Vocabulary.count(IdTable(dim=4, min_count=2), Counter(red=5, blue=2, pink=1))
        >>> colours.rows, colours.lookup(["blue", "red", "pink", None]).tolist()
        (3, [2, 1, 0, 0])
    """

    def __init__(self, table: IdTable, values: Sequence[str | None]) -> None:
        self.table, self.values = table, list(values)
        self._row = {v: i + 1 for i, v in enumerate(values) if v is not None}

    @property
    def rows(self) -> int:
        """Return the number of rows of the embedding table."""
        return self.table.rows if self.table.rows is not None else len(self.values) + 1

    @classmethod
    def count(cls, table: IdTable, counts: Counter[str], earlier: Vocabulary | None = None) -> Vocabulary:
        """Return the vocabulary of the most frequent values; ties in order of the values.

        Args:
            table: the table's settings.
            counts: how often each value occurs.
            earlier: a vocabulary to go on from. Its values keep their rows, whatever their counts are now;
                new ones come after them, as far as ``max_rows`` allows.

        Example::

            >>> table = IdTable(dim=4, min_count=2, max_rows=4)
            >>> first = Vocabulary.count(table, Counter(red=2, blue=3))
            >>> Vocabulary.count(table, Counter(red=9, pink=5, grey=4), first).values
            ['blue', 'red', 'pink']
        """
        if table.rows is not None:
            return cls(table, [])
        old = [] if earlier is None else earlier.values
        known = set(old)
        kept = [v for v, n in counts.items() if n >= table.min_count and v not in known]
        kept.sort(key=lambda v: (-counts[v], v))
        return cls(table, [*old, *kept[: max(table.max_rows - 1 - len(old), 0)]])

    def without_others(self, held: Collection[str]) -> Vocabulary:
        """Return the vocabulary in which rows of values that are not ``held`` stand for nothing.

        Example::

            >>> Vocabulary(IdTable(dim=4), ["red", "secret", "blue"]).without_others({"red", "blue"}).values
            ['red', None, 'blue']
        """
        return Vocabulary(self.table, [v if v in held else None for v in self.values])

    def lookup(self, values: list[str | None]) -> NDArray[np.int64]:
        """Return [N] int64 ids of the values."""
        return np.fromiter((self.row(v) for v in values), np.int64, len(values))

    def row(self, value: str | None) -> int:
        """Return the id of one value."""
        if value is None:
            return 0
        if self.table.ids == "managed":
            return 1 + hash63(value) % (ID_LIMIT - 1)
        if self.table.rows is not None:
            return 1 + hash63(value) % (self.table.rows - 1)
        return self._row.get(value, 0)

    def save(self, path: Path) -> None:
        """Write the values as Parquet, in order of their rows."""
        atomic_write(
            path, lambda p: pq.write_table(pa.table({"value": pa.array(self.values, pa.string())}), p)
        )

    @classmethod
    def open(cls, table: IdTable, path: Path) -> Vocabulary:
        """Read what :meth:`save` wrote."""
        return cls(table, pq.read_table(path)["value"].to_pylist())
