"""Feature values as the towers see them: rows of ID tables and dense numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.core.ids import id_text
from interactrank.cross_features.jagged import Jagged, per_row, take
from interactrank.cross_features.text import ANALYZERS, normalize
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.errors import DatasetError
from interactrank.data.extras import pa, pc
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import request_column
from interactrank.schema import Feature, SearchSchema

__all__ = [
    "count_parts",
    "dense",
    "distinct",
    "normalized",
    "parts",
    "request_values",
    "staged_values",
    "table_rows",
]


def distinct(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the distinct values of a column, null among them, in order of appearance, and each row's.

    Example::

        >>> values, at = distinct(pa.array(["b", None, "b"]))
        >>> values.to_pylist(), at.tolist()
        (['b', None], [0, 1, 0])
    """
    encoded = pc.dictionary_encode(column, null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # without any chunk
        return pa.array([], column.type), np.empty(0, np.int64)
    return encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)


def normalized(column: pa.Array) -> pa.Array:
    """Return a column of queries as one text for all ways to write them."""
    texts, at = distinct(column)
    made = [None if text is None else normalize(text) for text in texts.to_pylist()]
    return pa.array(made, pa.string()).take(pa.array(at))


def staged_values(column: pa.Array, name: str) -> pa.Array:
    """Return a column ``name`` of staged requests as ids see it: the query is normalised, so that an id and a
    count mean the same query.
    """
    return normalized(column) if name == "query" else column


def request_values(schema: SearchSchema, feature: Feature, requests: pa.Table) -> pa.Array:
    """Return the values of an id, words or trigrams feature of staged requests."""
    name = request_column(schema, feature.column, feature.file)
    return staged_values(requests[name], name)


def parts(feature: Feature, column: pa.Array) -> list[list[str]]:
    """Return the values of an id, words or trigrams feature in each row of a column."""
    if feature.kind == "id":
        values = column.to_pylist()
        if values and isinstance(next((v for v in values if v is not None), None), list):
            return [[t for v in row or () if (t := id_text(v)) is not None] for row in values]
        return [[] if (t := id_text(v)) is None else [t] for v in values]
    analyze = ANALYZERS[feature.kind]
    known: dict[str, list[str]] = {}
    result = []
    for text in column.to_pylist():
        text = text or ""
        if text not in known:
            known[text] = analyze(text)
        result.append(known[text])
    return result


def count_parts(feature: Feature, column: pa.Array, times: NDArray[np.int64], into: Counter[str]) -> None:
    """Add to ``into`` how often each value occurs, row n counting ``times[n]`` times."""
    for row, n in zip(parts(feature, column), times.tolist(), strict=True):
        if n:
            for value in row:
                into[value] += n


def table_rows(feature: Feature, column: pa.Array, vocabulary: Vocabulary) -> Jagged:
    """Return ID table rows of each row of a column; an empty row gets table row 0, so none is empty."""
    if pa.types.is_nested(column.type):
        return _table_rows(feature, column, vocabulary)
    values, at = distinct(column)
    return take(_table_rows(feature, values, vocabulary), at)


def _table_rows(feature: Feature, column: pa.Array, vocabulary: Vocabulary) -> Jagged:
    known: dict[str, int] = {}
    rows = []
    for values in parts(feature, column):
        for v in values:
            if v not in known:
                known[v] = vocabulary.row(v)
        rows.append([known[v] for v in values] or [0])
    return per_row(rows)


def dense(
    numbers: list[Feature], vectors: list[Feature], columns: Mapping[str, pa.Array], rows: int
) -> NDArray[np.float32]:
    """Return [rows, numbers + vector widths] float32; NaN if the log has no (finite) number.

    Args:
        numbers, vectors: the features.
        columns: Arrow column of each feature, by its name.
        rows: length of the columns.

    Raises:
        DatasetError: a column is not numeric or a vector has another width than the schema says.
    """
    blocks = [np.empty((rows, 0), np.float32)]
    blocks += [_numbers(f, columns[f.name])[:, None] for f in numbers]
    blocks += [_vectors(f, columns[f.name]) for f in vectors]
    return np.concatenate(blocks, axis=1)


def _numbers(feature: Feature, column: pa.Array) -> NDArray[np.float32]:
    try:
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise DatasetError(
            f"feature '{feature.name}': column '{feature.column}' is not numeric ({error})"
        ) from None
    return _finite(values)


def _vectors(feature: Feature, column: pa.Array) -> NDArray[np.float32]:
    width = int(feature.dim or 0)
    try:
        elements, lengths = from_arrow(column)
        elements = _finite(np.asarray(elements, np.float64))
    except (TypeError, ValueError, NotImplementedError) as error:  # pyarrow's errors are of these kinds
        raise DatasetError(
            f"feature '{feature.name}': column '{feature.column}' has no lists of numbers ({error})"
        ) from None
    wrong = lengths[(lengths != 0) & (lengths != width)]
    if len(wrong):
        raise DatasetError(
            f"feature '{feature.name}': column '{feature.column}' has vectors of {wrong[0]} numbers, "
            f"the schema says dim: {width}"
        )
    block = np.full((len(lengths), width), np.nan, np.float32)
    block[lengths > 0] = elements.reshape(-1, width)
    return block


def _finite(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values as float32; what that cannot hold becomes NaN."""
    with np.errstate(over="ignore"):
        result = np.array(values, np.float32)
    result[~np.isfinite(result)] = np.nan
    return result
