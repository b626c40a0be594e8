"""Jagged columns between Arrow and NumPy: the values of all rows, and a length for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s
from interactrank.data.extras import pa, pc


def from_arrow(column: pa.Array | pa.ChunkedArray) -> Jagged:
    """Return values and lengths of a list column (a null list is empty)."""
    array = column
    if hasattr(column, "chunks"):  # joining a single chunk would copy it
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if array.null_count == 0 and hasattr(array, "offsets"):
        offsets = array.offsets.to_numpy().astype(np.int64)
        values = array.values.slice(offsets[0], offsets[-1] - offsets[0])
        return Jagged(values.to_numpy(zero_copy_only=False), offsets[1:] - offsets[:-1])
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return Jagged(array.flatten().to_numpy(zero_copy_only=False), lengths.astype(np.int64))


def to_arrow(jagged: Jagged, kind: str) -> pa.ListArray:
    """Return a list column whose values have the Arrow type ``kind``, such as ``int64``."""
    offsets = np.concatenate([[0], np.cumsum(jagged.lengths)])
    values = pa.array(jagged.values, type=getattr(pa, kind)())
    if offsets[-1] > np.iinfo(np.int32).max:
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def list_rows(rows: NDArray[Any], lengths: Int64s | None = None) -> Jagged:
    """Return the rows of a matrix as lists: each row a list of its own, or ``lengths`` of them together.

    Example::

        >>> list_rows(np.array([[1, 2], [3, 4], [5, 6]]), np.array([1, 2])).lengths.tolist()
        [2, 4]
    """
    per = np.ones(len(rows), np.int64) if lengths is None else lengths
    return Jagged(rows.reshape(-1), per * rows.shape[1])
