"""The compiled searches of cross features; each has a form in NumPy, which does the same without a compiler.

Shapes: n rows that are looked up, K key rows, P pairs found.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.core.compiled import load_compiled

__all__ = ["Searches", "searches"]

Int64s = NDArray[np.int64]
_SOURCE = Path(__file__).with_name("searches.cpp")


class Searches:
    """The functions of ``searches.cpp``. Arrays of another type than is stored are converted.

    Args:
        library: that was built from it.
    """

    def __init__(self, library: Any) -> None:
        library.interactrank_filter.restype = library.interactrank_search_pairs.restype = ctypes.c_int64
        self._library = library

    def search(self, values: NDArray[Any], low: Int64s, high: Int64s, wanted: NDArray[Any]) -> Int64s:
        """Return [n], see :func:`~interactrank.cross_features.pair_index.search_segments`."""
        values, low, high, wanted = _sorted(values), _int64(low), _int64(high), _int64(wanted)
        out = np.empty(len(low), np.int64)
        self._of_type("search", values)(
            _at(values), _at(low), _at(high), _at(wanted), ctypes.c_int64(len(out)), _at(out)
        )
        return out

    def find(self, offsets: Int64s, items: NDArray[Any], rows: Int64s, wanted: NDArray[Any]) -> Int64s:
        """Return [n], see :meth:`~interactrank.cross_features.pair_index.PairIndex.find`."""
        offsets, items, rows, wanted = _int64(offsets), _int32(items), _int64(rows), _int64(wanted)
        out = np.empty(len(rows), np.int64)
        self._library.interactrank_find(
            _at(offsets), _at(items), _at(rows), _at(wanted), ctypes.c_int64(len(out)), _at(out)
        )
        return out

    def counts(
        self,
        offsets: Int64s,
        values: NDArray[Any],
        which: Int64s,
        before: NDArray[Any],
        sums: NDArray[np.uint32] | None = None,
    ) -> Int64s:
        """Return [n] how many values of segment ``which`` are below ``before``, or their running sum.

        Args:
            offsets: where segments begin.
            values: ascending within a segment, int32 or int64.
            which: [n] segments; -1 for one without values.
            before: [n].
            sums: running sum before each value, modulo 2^32.
        """
        offsets, values, which, before = _int64(offsets), _sorted(values), _int64(which), _int64(before)
        out = np.empty(len(which), np.int64)
        self._of_type("counts", values)(
            _at(offsets),
            _at(values),
            None if sums is None else _at(sums),
            _at(which),
            _at(before),
            ctypes.c_int64(len(out)),
            _at(out),
        )
        return out

    def filter(
        self,
        offsets: Int64s,
        items: NDArray[Any],
        rows: Int64s,
        base: Int64s,
        slots: NDArray[np.int32],
        most: int,
    ) -> tuple[Int64s, Int64s, Int64s]:
        """Return [P] key, pair and candidate of those pairs of the key rows whose item is one.

        Args:
            offsets, items: of the index.
            rows: [K]; -1 for none.
            base: [K] where the slots of each key's request begin.
            slots: the candidate in each slot, -1 for none.
            most: pairs of all rows.
        """
        offsets, items, rows, base = _int64(offsets), _int32(items), _int64(rows), _int64(base)
        out = _three(most)
        n = ctypes.c_int64(len(rows))
        found = self._library.interactrank_filter(
            _at(offsets), _at(items), _at(rows), n, _at(base), _at(slots), *map(_at, out)
        )
        return out[0][:found], out[1][:found], out[2][:found]

    def search_pairs(
        self,
        offsets: Int64s,
        items: NDArray[Any],
        rows: Int64s,
        first: Int64s,
        lengths: Int64s,
        wanted: NDArray[Any],
        most: int,
    ) -> tuple[Int64s, Int64s, Int64s]:
        """Return [P] key, pair and candidate of the pairs that exist.

        Args:
            offsets, items: of the index.
            rows: [K]; -1 for none.
            first, lengths: [K] the candidates of each key's request.
            wanted: [C] their items.
            most: keys times candidates that are searched.
        """
        offsets, items, wanted = _int64(offsets), _int32(items), _int64(wanted)
        rows, first, lengths = _int64(rows), _int64(first), _int64(lengths)
        out = _three(most)
        n = ctypes.c_int64(len(rows))
        found = self._library.interactrank_search_pairs(
            _at(offsets), _at(items), _at(rows), n, _at(first), _at(lengths), _at(wanted), *map(_at, out)
        )
        return out[0][:found], out[1][:found], out[2][:found]

    def _of_type(self, name: str, values: NDArray[Any]) -> Any:
        return getattr(self._library, f"interactrank_{name}_{values.dtype}")


@cache
def searches() -> Searches | None:
    """Return the compiled searches; None without a compiler."""
    library = load_compiled(_SOURCE)
    return None if library is None else Searches(library)


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _int64(array: Any) -> Int64s:
    return np.ascontiguousarray(array, np.int64)


def _int32(array: Any) -> NDArray[np.int32]:
    return np.ascontiguousarray(array, np.int32)


def _sorted(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, np.int32 if values.dtype == np.int32 else np.int64)


def _three(size: int) -> tuple[Int64s, Int64s, Int64s]:
    return np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
