"""Jagged columns between Arrow and NumPy: the values of all rows, and a length for each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from interactrank.extras import require
from interactrank.iqp.features import Jagged
from interactrank.iqp.index import Int64s, ranges


def from_arrow(column: Any) -> Jagged:
    """Values and lengths of a list column (a null list is empty)."""
    pc = require("pyarrow.compute", extra="data")
    array = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return Jagged(array.flatten().to_numpy(zero_copy_only=False), lengths.astype(np.int64))


def to_arrow(jagged: Jagged, kind: str) -> Any:
    """A list column whose values have the Arrow type ``kind``, such as ``int64``."""
    pa = require("pyarrow", extra="data")
    offsets = np.concatenate([[0], np.cumsum(jagged.lengths)]).astype(np.int32)
    values = pa.array(jagged.values, type=getattr(pa, kind)())
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def take(jagged: Jagged, rows: Int64s) -> Jagged:
    """The given rows of a jagged column.

    Example::

        >>> take(Jagged(np.array([1, 2, 3]), np.array([1, 0, 2])), np.array([2, 0])).values.tolist()
        [2, 3, 1]
    """
    lengths = jagged.lengths[rows]
    starts = (np.cumsum(jagged.lengths) - jagged.lengths)[rows]
    return Jagged(jagged.values[ranges(starts, lengths)], lengths)


def per_row(values: list[list[int]]) -> Jagged:
    """Jagged from a list for each row."""
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    flat = np.fromiter((v for row in values for v in row), np.int64, int(lengths.sum()))
    return Jagged(flat, lengths)


def constant(value: int, rows: int) -> Jagged:
    """The same single value in every row."""
    return Jagged(np.full(rows, value, np.int64), np.ones(rows, np.int64))
