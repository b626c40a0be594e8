"""What the train requests hold, counted in each partition: values of vocabularies, numbers, items."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from interactrank.cross_features.jagged import row_of_each
from interactrank.data.extras import pa
from interactrank.data.prepare.features import count_parts, dense, request_values
from interactrank.data.prepare.numbers import NAMES, Statistics
from interactrank.data.raw.staged_columns import request_column
from interactrank.data.spark.job import Job
from interactrank.data.spark.requests import raw_requests

__all__ = ["STATISTICS", "count_training", "merge_numbers"]

STATISTICS = pa.schema(
    [
        ("table", pa.string()),
        ("value", pa.string()),
        ("n", pa.int64()),
        ("minimum", pa.float64()),
        ("maximum", pa.float64()),
        ("total", pa.float64()),
        ("squares", pa.float64()),
    ]
)
"""A count of a value of an ID table; of ``:item``, of a row of the catalogue; of ``:number``, of a feature,
with smallest, largest and mean of its values, and the sum of the squares of their distances to that."""

ITEM, NUMBER = ":item", ":number"  # no table is called so


def count_training(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield rows of :data:`STATISTICS` for a partition of requests."""
    schema = job.schema
    counted = {f.name: f.table for f in schema.features.request if f.table is not None}
    counted = {n: t for n, t in counted.items() if schema.tables[t].ids == "vocabulary"}
    counts: dict[str, Counter[str]] = {table: Counter() for table in [*counted.values(), ITEM]}
    numbers = [f for f in schema.features.request if f.kind == "number"]
    values: dict[str, list[Any]] = {f.name: [] for f in numbers}
    for batch in batches:
        block = raw_requests(job, pa.Table.from_batches([batch]), fields=False)
        split = np.array(block.table["split"].to_pylist())
        train = (split == "train").astype(np.int64)
        for f in schema.features.request:
            if f.name in counted:
                count_parts(f, request_values(schema, f, block.table), train, counts[counted[f.name]])
        items = block.items.values[train[row_of_each(block.items)] > 0]
        rows, n = np.unique(items, return_counts=True)
        counts[ITEM].update(dict(zip(map(str, rows.tolist()), n.tolist(), strict=True)))
        columns = {f.name: block.table[request_column(schema, f.column, f.file)] for f in numbers}
        found = dense(numbers, [], columns, len(block))[train > 0].astype(np.float64)
        for j, f in enumerate(numbers):
            values[f.name].append(found[~np.isnan(found[:, j]), j])
    lines: list[tuple[Any, ...]] = [
        (t, v, n, None, None, None, None) for t, of in counts.items() for v, n in of.items()
    ]
    for name, blocks in values.items():
        known = np.concatenate([np.empty(0), *blocks])
        if len(known):
            mean = float(known.mean())
            spread = float(((known - mean) ** 2).sum())
            lines.append((NUMBER, name, len(known), float(known.min()), float(known.max()), mean, spread))
    each = [list(c) for c in zip(*lines, strict=True)] or [[] for _ in STATISTICS]
    yield pa.record_batch([pa.array(c, t.type) for c, t in zip(each, STATISTICS, strict=True)], STATISTICS)


def merge_numbers(parts: list[Mapping[str, Any]]) -> Statistics:
    """Return the statistics of a feature over all partitions.

    Means and squares are joined as by Chan, Golub and LeVeque (1979), which loses no digits to a large mean.

    Example::

        >>> one = {"n": 1, "minimum": 1.0, "maximum": 1.0, "total": 1.0, "squares": 0.0}
        >>> two = {"n": 1, "minimum": 2.0, "maximum": 2.0, "total": 2.0, "squares": 0.0}
        >>> merge_numbers([one, two])
        {'minimum': 1.0, 'maximum': 2.0, 'mean': 1.5, 'std': 0.7071067811865476}
    """
    if not parts:
        return dict.fromkeys(NAMES, 0.0)
    n, mean, squares = 0, 0.0, 0.0
    for part in parts:
        both, apart = n + part["n"], part["total"] - mean
        squares += part["squares"] + apart * apart * n * part["n"] / both
        mean += apart * part["n"] / both
        n = both
    found = (min(p["minimum"] for p in parts), max(p["maximum"] for p in parts), mean)
    return dict(zip(NAMES, (*found, math.sqrt(squares / (n - 1)) if n > 1 else 0.0), strict=True))
