"""PreparedRequests: some requests of a dataset, decoded from Arrow as they are needed.

Shapes: R requests, C candidates, H heads, X cross features that are rates,
Y numbers, Z ratios, L events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.batch.layout import BatchLayout
from interactrank.cross_features import CrossColumns, GivenValues, Jagged, RequestKeys, features_of
from interactrank.cross_features.features import key_names
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.extras import pa
from interactrank.data.loading.id_checks import check_items
from interactrank.data.prepared.columns import (
    CANDIDATES,
    CROSS_COUNTS,
    CROSS_NUMBER,
    CROSS_RATE,
    EVENT_ACTION,
    EVENT_AGE,
    EVENT_ITEM,
    EVENT_QUERY,
    HISTORY_END,
    LABELS,
    POSITION,
    TIME,
    WEIGHTS,
    candidate_column,
    keys_column,
)
from interactrank.data.prepared.items import Items

__all__ = ["BatchEvents", "Candidates", "PreparedRequests"]


class BatchEvents(NamedTuple):
    """User sequences: rows of the ID tables of item and query, action and age of each event.

    Args:
        lengths: [R].
        item_ids, query: [L] int64.
        action: [L] position of the engagement in the schema's list.
        age: [L] hours before the request.
    """

    lengths: NDArray[np.int64]
    item_ids: NDArray[np.int64]
    query: NDArray[np.int64]
    action: NDArray[Any]
    age: NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """Candidates of R requests with what depends on both sides.

    Args:
        items: rows of the item table, jagged [C].
        labels: [C, H].
        weights: [C].
        rate: [C, X] cross features that are rates.
        number: [C, Y] other cross features.
        counts: [C, 2 Z] engagements, then impressions, of cross features that are ratios.
        position: [C] where the candidate was shown, 0 unknown; None if the log has no positions.
        log_q: [C] logarithm of the chance that the candidate is there; 0 for logged candidates.
    """

    items: Jagged
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    rate: NDArray[np.float32]
    number: NDArray[np.float32]
    counts: NDArray[np.float32]
    log_q: NDArray[np.float32]
    position: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class PreparedRequests:
    """Some requests of a dataset.

    Args:
        table: columns of :mod:`interactrank.data.prepared.columns`, a row a request.
        index: [R] rows of the requests in their split.
        layout: the features and their widths.
        items: the catalogue.
    """

    table: pa.Table
    index: NDArray[np.int64]
    layout: BatchLayout
    items: Items

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def jagged(self, column: str) -> Jagged:
        """Return a list column."""
        return from_arrow(self.table[column])

    def positions(self, column: str) -> Jagged:
        """Return a list column of positions in the catalogue.

        Raises:
            IdRangeError: the catalogue does not have one of them.
        """
        items = self.jagged(column)
        check_items(items.values, len(self.items), column=column)
        return items

    def matrix(self, column: str, width: int) -> NDArray[np.float32]:
        """Return a list column whose values are rows of ``width``."""
        if width:
            return self.jagged(column).values.reshape(-1, width)
        per_candidate = column in (LABELS, CROSS_RATE, CROSS_NUMBER, CROSS_COUNTS)
        return np.empty((len(self.jagged(CANDIDATES).values) if per_candidate else len(self), 0), np.float32)

    def candidates(self) -> Candidates:
        """Return the logged candidates."""
        schema, columns = self.layout.schema, CrossColumns.of(self.layout.schema)
        items = self.positions(CANDIDATES)
        return Candidates(
            items,
            self.matrix(LABELS, len(schema.heads)),
            self.jagged(WEIGHTS).values,
            self.matrix(CROSS_RATE, len(columns.rates)),
            self.matrix(CROSS_NUMBER, len(columns.numbers)),
            self.matrix(CROSS_COUNTS, 2 * len(columns.ratios)),
            np.zeros(len(items.values), np.float32),
            self.jagged(POSITION).values.astype(np.int64) if schema.events.position else None,
        )

    def events(self) -> BatchEvents:
        """Return the user sequences, newest event first."""
        items = self.positions(EVENT_ITEM)
        ids = items.values.astype(np.int64)
        if self.layout.schema.sequence is not None:
            ids = self.items.first(self.layout.schema.sequence.item, items.values)
        return BatchEvents(
            items.lengths,
            ids,
            self.jagged(EVENT_QUERY).values,
            self.jagged(EVENT_ACTION).values,
            self.jagged(EVENT_AGE).values,
        )

    def take(self, rows: NDArray[np.int64]) -> PreparedRequests:
        """Return some of the requests."""
        return PreparedRequests(self.table.take(rows), self.index[rows], self.layout, self.items)

    def given(self) -> GivenValues | None:
        """Return the candidate features of the logged candidates; None if the schema has none."""
        features = self.layout.schema.features.candidate
        if not features:
            return None
        values = {f.name: self.jagged(candidate_column(f.name)).values for f in features}
        return GivenValues(self.positions(CANDIDATES), values)

    def keys(self) -> RequestKeys:
        """Return what the cross features of any items depend on."""
        names = key_names(features_of(self.layout.schema))
        return RequestKeys(
            {name: self.jagged(keys_column(name)) for name in names},
            self.table[TIME].to_numpy() - self.layout.schema.history_delay_ms,
            self.table[HISTORY_END].to_numpy(),
            self.given(),
        )
