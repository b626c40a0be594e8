"""Jagged columns between Arrow and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactrank.cross_features.jagged import constant, per_row, take
from interactrank.data.arrow_lists import from_arrow, to_arrow

rows = st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=6)


@given(rows, st.lists(st.integers(0, 5), max_size=6))
def test_there_and_back_and_taken(values: list[list[int]], which: list[int]) -> None:
    jagged = per_row(values)
    column = to_arrow(jagged, "int32")
    assert column.to_pylist() == values
    back = from_arrow(column)
    assert back.values.tolist() == jagged.values.tolist()
    assert back.lengths.tolist() == jagged.lengths.tolist()
    which = [w for w in which if w < len(values)]
    taken = take(jagged, np.array(which, np.int64))
    assert to_arrow(taken, "int64").to_pylist() == [values[w] for w in which]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)])
@pytest.mark.parametrize("chunks", [[[[1, 2], [3, 4]], [[5, 6]]], [[[1, 2], None, [3, 4]]], []])
def test_from_arrow(kind: pa.DataType, chunks: list[list[Any]]) -> None:
    column = pa.chunked_array([pa.array(c, kind) for c in chunks], kind)
    flat = [row for chunk in chunks for row in chunk]
    found = from_arrow(column)
    assert found.values.tolist() == [v for row in flat if row for v in row]
    assert found.lengths.tolist() == [len(row or []) for row in flat]
    if flat:  # a slice has the values of its rows alone
        part = from_arrow(column.slice(1))
        assert part.values.tolist() == [v for row in flat[1:] if row for v in row]
        assert part.lengths.tolist() == [len(row or []) for row in flat[1:]]


def test_constant() -> None:
    assert constant(7, 2).values.tolist() == [7, 7]
    assert constant(7, 2).lengths.tolist() == [1, 1]
