"""Jagged: lists of unequal lengths as flat values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.pair_index import Int64s, ranges

__all__ = ["Jagged", "constant", "per_row", "row_of_each", "starts", "take"]


class Jagged(NamedTuple):
    """Values of all rows, one row after the other, and how many each row has."""

    values: NDArray[Any]
    lengths: Int64s


def per_row(values: Sequence[Sequence[int]]) -> Jagged:
    """Return the jagged column of a list for each row.

    Example::

        >>> per_row([[7, 8], [], [9]]).lengths.tolist()
        [2, 0, 1]
    """
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    flat = np.fromiter(chain.from_iterable(values), np.int64, int(lengths.sum()))
    return Jagged(flat, lengths)


def constant(value: int, rows: int) -> Jagged:
    """Return the same single value in every row.

    Example::

        >>> constant(5, 3).values.tolist()
        [5, 5, 5]
    """
    return Jagged(np.full(rows, value, np.int64), np.ones(rows, np.int64))


def starts(jagged: Jagged) -> Int64s:
    """Return where the values of each row begin.

    Example::

        >>> starts(per_row([[7, 8], [], [9]])).tolist()
        [0, 2, 2]
    """
    return np.cumsum(jagged.lengths) - jagged.lengths


def row_of_each(jagged: Jagged) -> Int64s:
    """Return the row of each value.

    Example::

        >>> row_of_each(per_row([[7, 8], [], [9]])).tolist()
        [0, 0, 2]
    """
    return np.repeat(np.arange(len(jagged.lengths)), jagged.lengths)


def take(jagged: Jagged, rows: Int64s, first: Int64s | None = None) -> Jagged:
    """Return the given rows of a jagged column; ``first`` are its :func:`starts`, if they are known.

    Example::

        >>> take(Jagged(np.array([1, 2, 3]), np.array([1, 0, 2])), np.array([2, 0])).values.tolist()
        [2, 3, 1]
    """
    lengths = jagged.lengths[rows]
    first = starts(jagged) if first is None else first
    return Jagged(jagged.values[ranges(first[rows], lengths)], lengths)
