"""Vocabularies: the values of each ID table, counted in the train split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interactrank.data.extras import pa
from interactrank.data.prepare.features import count_parts, staged_values
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import request_column
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import Feature, SearchSchema

__all__ = ["count_vocabularies", "held_values", "vocabularies_of"]


def count_vocabularies(
    log: StagedLog,
    schema: SearchSchema,
    items: pa.Table,
    train_count: NDArray[np.int64],
    earlier: Mapping[str, Vocabulary] | None = None,
) -> dict[str, Vocabulary]:
    """Return the vocabulary of each ID table.

    Args:
        log: the staged log, whose train split counts.
        schema: names the tables and the features that use them.
        items: the items, with a column for each column of the items file.
        train_count: [N] how often each item counts.
        earlier: of an earlier preparation, whose values keep their rows.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in schema.tables}
    for f in schema.features.request:
        if f.table is not None and schema.tables[f.table].ids == "vocabulary":
            _count_requests(log, schema, f, counts[f.table])
    return vocabularies_of(schema, items, train_count, counts, earlier)


def vocabularies_of(
    schema: SearchSchema,
    items: pa.Table,
    train_count: NDArray[np.int64],
    counts: Mapping[str, Counter[str]],
    earlier: Mapping[str, Vocabulary] | None = None,
) -> dict[str, Vocabulary]:
    """Return the vocabulary of each ID table, of what was counted in requests.

    Args:
        schema, items, train_count, earlier: see :func:`count_vocabularies`.
        counts: ID table -> how often the train requests have each value; those of items are added.
    """
    for f in schema.features.item:
        if f.table is not None and schema.tables[f.table].ids == "vocabulary":
            count_parts(f, items[f.column], train_count, counts[f.table])
    earlier = earlier or {}
    return {
        name: Vocabulary.count(table, counts[name], earlier.get(name))
        for name, table in schema.tables.items()
    }


def held_values(log: StagedLog, schema: SearchSchema, items: pa.Table) -> dict[str, set[str]]:
    """Return the values of each ID table that any item or request of the log has, trained on or not."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in schema.tables}
    ones = np.ones(len(items), np.int64)
    for f in schema.features.item:
        if f.table is not None:
            count_parts(f, items[f.column], ones, counts[f.table])
    for f in schema.features.request:
        if f.table is not None:
            _count_requests(log, schema, f, counts[f.table], where="true")
    return {name: set(of) for name, of in counts.items()}


def _count_requests(
    log: StagedLog, schema: SearchSchema, feature: Feature, into: Counter[str], where: str = "split = 'train'"
) -> None:
    column = request_column(schema, feature.column, feature.file)
    sql = f"""SELECT {quote(column)} AS value, count(*) AS n FROM requests
        WHERE {where} GROUP BY 1"""
    for batch in log.batches(sql):
        count_parts(feature, staged_values(batch["value"], column), batch["n"].to_numpy(), into)
