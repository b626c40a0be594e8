"""ItemIds: the ids of a catalogue and their rows, from a mapped file.

Shapes: N items, C ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import repeat
from pathlib import Path

import numpy as np

from interactrank.core.files import atomic_write
from interactrank.cross_features.pair_index import Int64s, Ints
from interactrank.data.extras import pa, pc

__all__ = ["ItemIds"]

_SHARE = 4
"""A table of all ids costs about as much as looking up this part of them in Python: 1 of 4."""


class ItemIds:
    """The ids of a catalogue.

    Args:
        column: Arrow array of N texts.

    Example::

        >>> ids = ItemIds(pa.array(["b7", "a1"], pa.string()))
        >>> ids.rows(["a1", "zz", "b7"]).tolist(), ids.of(np.array([1]))
        ([1, -1, 0], ['a1'])
        >>> ids.rows(pa.array(["a1", "zz", "b7"])).tolist()
        [1, -1, 0]
    """

    def __init__(self, column: pa.Array) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def rows(self, ids: Sequence[str] | pa.Array) -> Int64s:
        """Return [C] the row of each id, -1 for an unknown one.

        Args:
            ids: texts, or an Arrow array of texts. If that has a good part of the catalogue, Arrow makes a
                table of all ids and looks them up in it, which is faster than a look-up of each in Python.
        """
        if isinstance(ids, pa.Array):
            if len(ids) * _SHARE >= len(self):
                found = pc.index_in(ids, value_set=self._column)
                return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
            ids = ids.to_pylist()
        return np.fromiter(map(self._row.get, ids, repeat(-1)), np.int64, len(ids))

    def of(self, rows: Ints) -> list[str]:
        """Return the id of each row."""
        return list(self._column.take(pa.array(rows)).to_pylist())

    @cached_property
    def _row(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self._column.to_pylist())}

    @classmethod
    def open(cls, path: Path) -> ItemIds:
        """Map what :meth:`write` wrote into memory."""
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        column = table["id"]
        return cls(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())

    @staticmethod
    def write(path: Path, ids: Sequence[str]) -> None:
        """Write ids as an Arrow file."""
        table = pa.table({"id": pa.array(ids, pa.string())})

        def fill(temporary: Path) -> None:
            with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)

        atomic_write(path, fill)
