"""Feature values: parts of columns, rows of tables, dense numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.prepare.features import count_parts, dense, normalized, parts, table_rows
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.schema import Feature
from interactrank.schema.tables import IdTable

ID = Feature(name="f", kind="id", column="c", table="t")
WORDS = Feature(name="f", kind="words", column="c", table="t")
NUMBER = Feature(name="price", kind="number", column="c")
VECTOR = Feature(name="image", kind="vector", column="c", dim=2)
nan = float("nan")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", None, "b c"]), [["a"], [], ["b c"]]),
        (pa.array([7, None]), [["7"], []]),
        (pa.array([["a", "b"], [], None, [None, "c"]]), [["a", "b"], [], [], ["c"]]),
        (pa.array([None, [1, 2]]), [[], ["1", "2"]]),
        (pa.array([None, None], pa.string()), [[], []]),
    ],
)
def test_parts_of_ids(column: pa.Array, expected: list[list[str]]) -> None:
    assert parts(ID, column) == expected


def test_parts_of_words() -> None:
    assert parts(WORDS, pa.array(["Red shoe", None, "", "Red shoe"])) == [
        ["red", "shoe"],
        [],
        [],
        ["red", "shoe"],
    ]


def test_count_parts_adds_the_times() -> None:
    counts = Counter(red=1)
    count_parts(WORDS, pa.array(["red hat", "hat", "sock"]), np.array([2, 3, 0]), counts)
    assert counts == {"red": 3, "hat": 5}


def test_table_rows_are_never_empty() -> None:
    vocabulary = Vocabulary(IdTable(dim=4), ["hat", "red"])
    rows = table_rows(WORDS, pa.array(["red hat", None, "sock red"]), vocabulary)
    assert (rows.values.tolist(), rows.lengths.tolist()) == ([2, 1, 0, 0, 2], [2, 1, 2])


def test_normalized_keeps_null() -> None:
    assert normalized(pa.array([" A  b", None])).to_pylist() == ["a b", None]


def numbers(column: Any) -> list[float]:
    return dense([NUMBER], [], {"price": pa.chunked_array([column])}, len(column))[:, 0].tolist()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1.5, None, nan, float("inf"), -float("inf"), 1e300]), [1.5, nan, nan, nan, nan, nan]),
        (pa.array([16_777_217, None]), [16_777_216.0, nan]),  # more digits than float32 holds
        (pa.array([True, False]), [1, 0]),
        (pa.array(["2.5", None]), [2.5, nan]),
        (pa.array([None, None], pa.float32()), [nan, nan]),
    ],
)
def test_numbers(column: pa.Array, expected: list[float]) -> None:
    assert numbers(column) == pytest.approx(expected, nan_ok=True)


def test_a_column_that_is_not_numeric() -> None:
    with pytest.raises(DatasetError, match="feature 'price': column 'c' is not numeric"):
        numbers(pa.array(["1", "cheap"]))


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.int8()), pa.large_list(pa.float32())]
)
def test_vectors(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array([[1, 2], None], kind), pa.array([[], [3, 4]], kind)])
    found = dense([], [VECTOR], {"image": column}, 4)
    assert found.tolist() == pytest.approx(np.array([[1, 2], [nan, nan], [nan, nan], [3, 4]]), nan_ok=True)


def test_numbers_in_vectors_that_are_not_finite() -> None:
    column = pa.array([[1.0, None], [float("inf"), nan]])
    found = dense([], [VECTOR], {"image": column}, 2)
    assert found.tolist() == pytest.approx(np.array([[1, nan], [nan, nan]]), nan_ok=True)


def test_vectors_of_fixed_size() -> None:
    column = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2))
    found = dense([], [VECTOR], {"image": column}, 3)
    assert found.tolist() == pytest.approx(np.array([[1, 2], [nan, nan], [3, 4]]), nan_ok=True)


def test_a_vector_of_another_width() -> None:
    with pytest.raises(
        DatasetError, match=r"feature 'image': column 'c' has vectors of 3 numbers, .* says dim: 2"
    ):
        dense([], [VECTOR], {"image": pa.array([[1.0, 2.0], [1.0, 2.0, 3.0]])}, 2)


@pytest.mark.parametrize("column", [pa.array([1.0]), pa.array([["a", "b"]]), pa.array(["1,2"])])
def test_a_column_without_vectors(column: pa.Array) -> None:
    with pytest.raises(DatasetError, match="feature 'image': column 'c' has no lists of numbers"):
        dense([], [VECTOR], {"image": column}, 1)


def test_numbers_come_before_vectors() -> None:
    columns = {"price": pa.array([9.0]), "image": pa.array([[1.0, 2.0]])}
    assert dense([NUMBER], [VECTOR], columns, 1).tolist() == [[9, 1, 2]]
    assert dense([], [], {}, 3).shape == (3, 0)
