"""The items of a dataset: their features, and how often each was a candidate in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features import features_of
from interactrank.cross_features.features import FIELDS, field_columns, field_folder
from interactrank.cross_features.item_fields import ItemFields
from interactrank.data.arrow_lists import list_rows, to_arrow
from interactrank.data.errors import DatasetError
from interactrank.data.extras import pa, pq
from interactrank.data.prepare.features import dense, table_rows
from interactrank.data.prepare.numbers import Statistics, item_statistics
from interactrank.data.prepared.columns import DENSE, ITEM_ID, ITEMS_FILE, TRAIN_COUNT, feature_column
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import item_column, item_columns
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import SearchSchema

__all__ = ["count_in_training", "read_items", "write_item_fields", "write_items"]


def read_items(log: StagedLog, schema: SearchSchema) -> pa.Table:
    """Return the columns of the items file that are needed; ids are texts."""
    staged = log.table("SELECT * FROM items ORDER BY rowid")
    return pa.table({c: staged[item_column(schema, c)] for c in item_columns(schema)})


def count_in_training(log: StagedLog) -> NDArray[np.int64]:
    """Return [N] how often each item was a candidate of a train request."""
    found = log.table(
        """SELECT c.item, count(*) AS n FROM candidates c JOIN requests r USING (request)
        WHERE r.split = 'train' GROUP BY 1"""
    )
    counts = np.zeros(log.num_items, np.int64)
    counts[found["item"].to_numpy()] = found["n"].to_numpy()
    return counts


def write_items(
    folder: Path,
    items: pa.Table,
    *,
    schema: SearchSchema,
    train_count: NDArray[np.int64],
    vocabularies: Mapping[str, Vocabulary],
) -> dict[str, Statistics]:
    """Write the items into a dataset's folder and return the statistics of their number features."""
    columns: dict[str, Any] = {ITEM_ID: items[schema.items.id], TRAIN_COUNT: pa.array(train_count)}
    for f in schema.features.item:
        if f.table is not None:
            rows = table_rows(f, items[f.column], vocabularies[f.table])
            columns[feature_column(f.name)] = to_arrow(rows, "int64")
    numbers = [f for f in schema.features.item if f.kind == "number"]
    vectors = [f for f in schema.features.item if f.kind == "vector"]
    block = dense(numbers, vectors, {f.name: items[f.column] for f in [*numbers, *vectors]}, len(items))
    columns[DENSE] = to_arrow(list_rows(block), "float32")
    pq.write_table(pa.table(columns), folder / ITEMS_FILE)
    return {f.name: item_statistics(block[:, j]) for j, f in enumerate(numbers)}


def write_item_fields(folder: Path, items: pa.Table, schema: SearchSchema) -> dict[str, ItemFields]:
    """Write the columns by whose values cross features count into a dataset's folder, and return them.

    Raises:
        DatasetError: no item has a value in one of them.
    """
    fields = {}
    for column in field_columns(features_of(schema)):
        fields[column] = ItemFields.from_column(items[column].to_pylist())
        if not fields[column].num_values:
            raise DatasetError(
                f"cross_features: no item has a value in the column '{column}' of items, by which is counted"
            )
        fields[column].save(folder / FIELDS / field_folder(column))
    return fields
