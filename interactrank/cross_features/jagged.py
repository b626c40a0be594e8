"""Jagged: lists of unequal lengths as flat values."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from interactrank.cross_features.pair_index import Int64s


class Jagged(NamedTuple):
    """Values of all rows, one row after the other, and how many each row has."""

    values: NDArray[Any]
    lengths: Int64s
