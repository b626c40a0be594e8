"""Raw requests as rows of a prepared dataset (see :mod:`interactrank.data.prepared.columns`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.features import CrossFeatures
from interactrank.cross_features.jagged import Jagged
from interactrank.data.arrow_lists import list_rows, to_arrow
from interactrank.data.extras import pa
from interactrank.data.prepare.features import dense, request_values, table_rows
from interactrank.data.prepare.labels import candidate_weights, head_labels
from interactrank.data.prepare.query_frequency import QueryFrequency
from interactrank.data.prepare.raw_requests import RawRequests
from interactrank.data.prepared import columns as names
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import request_column

__all__ = ["encode_query_side", "encode_requests"]


def encode_requests(
    block: RawRequests,
    *,
    vocabularies: Mapping[str, Vocabulary],
    cross: CrossFeatures,
    train_frequency: QueryFrequency,
    repeats: EngagementCountStore | None,
) -> pa.Table:
    """Return a block of requests as rows of a split.

    Args:
        block: the requests.
        vocabularies: of each ID table.
        cross: computes the cross features of the candidates as of their requests.
        train_frequency: how often queries were searched in training.
        repeats: what each user engaged with after each query; None if repeats are ranked, too.
    """
    schema, lengths = block.schema, block.candidate_lengths
    found = cross.look_up(block.keys, block.items, check=True)
    columns = encode_query_side(block, vocabularies) | {
        names.REQUEST_ID: block.table["request_id"],
        names.QUERY: pa.array(block.queries),
        names.USER: block.table["user"],
        names.TRAIN_FREQUENCY: pa.array(train_frequency.of(block.queries), pa.int32()),
        names.CANDIDATES: to_arrow(block.items, "int32"),
        names.LABELS: to_arrow(list_rows(head_labels(block), lengths), "float32"),
        names.WEIGHTS: to_arrow(Jagged(candidate_weights(block), lengths), "float32"),
        names.CROSS_RATE: to_arrow(list_rows(found.rate, lengths), "float32"),
        names.CROSS_SUPPORT: to_arrow(list_rows(found.support), "float32"),
        names.CROSS_NUMBER: to_arrow(list_rows(found.number, lengths), "float32"),
        names.CROSS_COUNTS: to_arrow(list_rows(found.counts, lengths), "float32"),
    }
    for name, values in block.given.values.items():
        columns[names.candidate_column(name)] = to_arrow(Jagged(values, lengths), "float32")
    for segment in schema.segments:
        columns[names.segment_column(segment)] = pa.array(block.facts.segments[segment], pa.string())
    if schema.events.position:
        place = block.candidates["position"].to_numpy()
        known = np.where(np.isfinite(place) & (place >= 1), place, 0).astype(np.int32)
        columns[names.POSITION] = to_arrow(Jagged(known, lengths), "int32")
    if schema.events.true_probability:
        chance = block.candidates["true_probability"].to_numpy().astype(np.float32)
        columns[names.TRUE_PROBABILITY] = to_arrow(Jagged(chance, lengths), "float32")
    if repeats is not None:
        columns[names.EXCLUDED] = to_arrow(_excluded(block, repeats), "int32")
    return pa.table(columns)


def encode_query_side(block: RawRequests, vocabularies: Mapping[str, Vocabulary]) -> dict[str, pa.Array]:
    """Return the columns that need no candidates: what the query tower and the cross features read.

    Args:
        block: the requests, of a log or live.
        vocabularies: of each ID table.
    """
    schema, events = block.schema, block.events
    columns: dict[str, Any] = {
        names.TIME: pa.array(block.time),
        names.HISTORY_END: pa.array(block.history_end),
        names.EVENT_ITEM: to_arrow(events.item, "int32"),
        names.EVENT_QUERY: to_arrow(Jagged(events.query, events.item.lengths), "int64"),
        names.EVENT_ACTION: to_arrow(Jagged(events.action, events.item.lengths), "int8"),
        names.EVENT_AGE: to_arrow(Jagged(events.age, events.item.lengths), "float32"),
    }
    for name, keys in block.keys.keys.items():
        columns[names.keys_column(name)] = to_arrow(keys, "int64")
    for f in schema.features.request:
        if f.table is not None:
            rows = table_rows(f, request_values(schema, f, block.table), vocabularies[f.table])
            columns[names.feature_column(f.name)] = to_arrow(rows, "int64")
    columns[names.DENSE] = to_arrow(list_rows(_dense(block)), "float32")
    return columns


def _dense(block: RawRequests) -> NDArray[np.float32]:
    numbers = [f for f in block.schema.features.request if f.kind == "number"]
    vectors = [f for f in block.schema.features.request if f.kind == "vector"]
    columns = {
        f.name: block.table[request_column(block.schema, f.column, f.file)] for f in [*numbers, *vectors]
    }
    return dense(numbers, vectors, columns, len(block))


def _excluded(block: RawRequests, repeats: EngagementCountStore) -> Jagged:
    """Return the items that the user engaged with after the same query, before the user sequence ends."""
    which, pairs = repeats.pairs_of(repeats.rows(block.repeat_keys.values))
    before = repeats.pair_counts(pairs, block.keys.sequence_end[which]) > 0
    return Jagged(np.asarray(repeats.items[pairs[before]]), np.bincount(which[before], minlength=len(block)))
