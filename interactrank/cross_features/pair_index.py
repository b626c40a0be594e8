"""A sorted (key, item) index in flat arrays: what the history and the lexical features are looked up in.

Shapes: K keys, P pairs of a key and an item, N looked-up rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from interactrank.core.errors import UserError
from interactrank.cross_features.searches import searches

Ints = NDArray[np.integer[Any]]
Int64s = NDArray[np.int64]
_FEW = 8  # segments from which on searching all at once is faster
REMEDY = "the folder is incomplete: prepare the log again"


class DamagedIndexError(UserError, ValueError):
    """The files of an index do not fit together."""


def search_segments(values: Ints, low: Int64s, high: Int64s, wanted: Ints) -> Int64s:
    """Return for each row the first position in ``low..high`` whose value is not below ``wanted``.

    ``values`` is sorted within each segment ``low[n]..high[n]`` (not overall). The work is the logarithm of
    the longest segment; the values may lie in a memory-mapped file.

    Example::

        >>> search_segments(np.array([1, 5, 9, 2, 3]), np.array([0, 3]), np.array([3, 5]), np.array([6, 1]))
        array([2, 3])
    """
    compiled = searches()
    if compiled is not None:
        return compiled.search(values, low, high, wanted)
    return slow_search_segments(values, low, high, wanted)


def slow_search_segments(values: Ints, low: Int64s, high: Int64s, wanted: Ints) -> Int64s:
    """Return what :func:`search_segments` does, by NumPy alone."""
    found = low.astype(np.int64)
    rows = np.flatnonzero(low < high)
    if len(rows) <= _FEW:  # one search of NumPy's each, as for the keys of a request that is served
        for n in rows.tolist():
            found[n] += np.searchsorted(values[low[n] : high[n]], wanted[n])
        return found
    low, high, wanted = found[rows], high[rows], wanted[rows]  # of the rows whose search goes on
    while len(rows):
        middle = (low + high) >> 1
        below = values[middle] < wanted
        low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
        going = np.flatnonzero(low < high)
        if len(going) < len(rows):
            found[rows] = low
            rows, low, high, wanted = rows[going], low[going], high[going], wanted[going]
    return found


def ranges(starts: Int64s, lengths: Int64s) -> Int64s:
    """Return ``starts[0], starts[0] + 1, ...`` (``lengths[0]`` of them), those of ``starts[1]``, and so on.

    Example::

        >>> ranges(np.array([3, 10]), np.array([2, 3]))
        array([ 3,  4, 10, 11, 12])
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


class PairIndex:
    """Sorted keys, and for each key its sorted items.

    Args:
        keys: [K] int64, ascending.
        offsets: [K + 1] int64; the pairs of key k are ``offsets[k]..offsets[k + 1]``.
        items: [P] int32, ascending within a key.
    """

    arrays: ClassVar[dict[str, str]] = {"keys": "<i8", "offsets": "<i8", "items": "<i4"}
    in_arrays: ClassVar[bool] = True  # False for a class that only its methods can search

    def __init__(self, *, keys: Int64s, offsets: Int64s, items: Ints) -> None:
        self.keys, self.offsets, self.items = keys, offsets, items

    def rows(self, keys: Ints) -> Int64s:
        """Return [N] the position of each key, -1 for a key that is not in the index."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def find(self, rows: Int64s, items: Ints) -> Int64s:
        """Return [N] the position of each (key row, item) pair, -1 where there is none.

        Example::

            >>> keys, offsets, items = np.array([7, 9]), np.array([0, 2, 3]), np.array([1, 4, 2])
            >>> index = PairIndex(keys=keys, offsets=offsets, items=items)  # 7: items 1 and 4; 9: item 2
            >>> index.find(index.rows(np.array([7, 9, 8])), np.array([4, 4, 4])).tolist()
            [1, -1, -1]
        """
        compiled = searches()
        if compiled is not None:
            return compiled.find(self.offsets, self.items, rows, items)
        return self.slow_find(rows, items)

    def slow_find(self, rows: Int64s, items: Ints) -> Int64s:
        """Return what :meth:`find` does, by NumPy alone."""
        known = np.maximum(rows, 0)
        low, high = np.asarray(self.offsets[known]), np.asarray(self.offsets[known + (rows >= 0)])
        at = slow_search_segments(self.items, low, high, items)
        hit = at < high
        hit[hit] = self.items[at[hit]] == items[hit]
        return np.where(hit, at, -1)

    def num_pairs(self, rows: Int64s) -> int:
        """Return how many pairs all the key rows have together."""
        known = rows[rows >= 0]
        return int((self.offsets[known + 1] - self.offsets[known]).sum())

    def pairs_of(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """Return all pairs of the key rows: (which of the given rows, position of the pair).

        Example::

            >>> keys, offsets, items = np.array([7, 9]), np.array([0, 2, 3]), np.array([1, 4, 2])
            >>> index = PairIndex(keys=keys, offsets=offsets, items=items)  # 7: items 1 and 4; 9: item 2
            >>> index.pairs_of(np.array([1, -1, 0]))  # of key 9, an unknown key, and key 7
            (array([0, 2, 2]), array([2, 0, 1]))
        """
        known = np.flatnonzero(rows >= 0)
        starts = np.asarray(self.offsets[rows[known]])
        lengths = np.asarray(self.offsets[rows[known] + 1]) - starts
        return np.repeat(known, lengths), ranges(starts, lengths)

    def items_of(self, keys: Ints) -> Int64s:
        """Return the items of all pairs of the keys, one key after the other.

        Example::

            >>> keys, offsets, items = np.array([7, 9]), np.array([0, 2, 3]), np.array([1, 4, 4])
            >>> PairIndex(keys=keys, offsets=offsets, items=items).items_of(np.array([9, 8, 7])).tolist()
            [4, 1, 4]
        """
        _, pairs = self.pairs_of(self.rows(keys))
        return np.asarray(self.items[pairs], np.int64)

    @classmethod
    def open(cls, folder: Path) -> Any:
        """Map the arrays of ``folder`` into memory, read-only.

        Raises:
            DamagedIndexError: a file is missing, or has another size than was written.
        """
        try:
            sizes = json.loads((folder / "index.json").read_text())
            sizes = {name: int(sizes[name]) for name in cls.arrays}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DamagedIndexError(f"'{folder}' has no readable index.json ({error}); {REMEDY}") from None
        return cls(**{name: _map(folder / name, dtype, sizes[name]) for name, dtype in cls.arrays.items()})

    def save(self, folder: Path) -> None:
        """Write the arrays into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        sizes = {}
        for name, dtype in self.arrays.items():
            array = np.ascontiguousarray(getattr(self, name), dtype)
            array.tofile(folder / name)
            sizes[name] = len(array)
        (folder / "index.json").write_text(json.dumps(sizes))


def _map(path: Path, dtype: str, size: int) -> NDArray[Any]:
    try:
        found = path.stat().st_size
    except OSError:
        raise DamagedIndexError(f"'{path}' is missing; {REMEDY}") from None
    if found != size * np.dtype(dtype).itemsize:
        raise DamagedIndexError(
            f"'{path}' has {found} bytes, not {size} values of {dtype} as its index says; {REMEDY}"
        )
    if size == 0:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=(size,)))  # plain arrays index faster
