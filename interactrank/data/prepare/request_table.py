"""What a prepared request looks like: the columns of the request-grouped Parquet files.

Columns, one row a request (lists in brackets; c candidates, H heads, X history and Y lexical features):
``request_id``, ``time`` and ``history_end`` (milliseconds), ``query``, ``user``, ``train_frequency``,
``segment.*``, ``feature.*`` [rows of ID tables], ``dense`` [numbers, then vectors], ``candidates`` [c items],
``labels`` [c * H], ``weights`` [c], ``iqp_rate`` [c * X], ``iqp_support`` [X], ``lexical`` [c * Y],
``events.*`` [newest first], ``keys.*`` and ``parts.*`` [hashes, to look cross features up for other items],
and where the schema asks for them ``true_probability`` [c] and ``excluded`` [items].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.core.extras import require
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.features import CrossFeatures
from interactrank.cross_features.jagged import Jagged
from interactrank.data.arrow_lists import to_arrow
from interactrank.data.prepare.features import dense, normalized, table_rows
from interactrank.data.prepare.query_frequency import QueryFrequency
from interactrank.data.prepare.raw_requests import RawRequests
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.source import request_column
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema


def request_table(
    block: RawRequests,
    *,
    vocabularies: Mapping[str, Vocabulary],
    cross: CrossFeatures,
    train_frequency: QueryFrequency,
    repeats: EngagementCountStore | None,
) -> Any:
    """The Arrow table of a block of requests."""
    pa = require("pyarrow", extra="data")
    schema, lengths, events = block.schema, block.candidate_lengths, block.events
    rate, support = cross.history(block.keys, block.items)
    match = cross.match(block.keys, block.items)
    labels = np.stack([_label(block, h.engagements, h.unless) for h in schema.heads], axis=1)
    columns: dict[str, Any] = {
        "request_id": block.table["request_id"],
        "time": pa.array(block.time),
        "history_end": block.table["history_end"],
        "query": pa.array(block.queries),
        "user": block.table["user"],
        "train_frequency": pa.array(train_frequency.of(block.queries), pa.int32()),
        "candidates": to_arrow(block.items, "int32"),
        "labels": to_arrow(list_rows(labels, lengths), "float32"),
        "weights": to_arrow(Jagged(_weights(schema, block), lengths), "float32"),
        "iqp_rate": to_arrow(list_rows(rate, lengths), "float32"),
        "iqp_support": to_arrow(list_rows(support), "float32"),
        "lexical": to_arrow(list_rows(match, lengths), "float32"),
        "events.item": to_arrow(events.item, "int32"),
        "events.query": to_arrow(Jagged(events.query, events.item.lengths), "int64"),
        "events.action": to_arrow(Jagged(events.action, events.item.lengths), "int8"),
        "events.age": to_arrow(Jagged(events.age, events.item.lengths), "float32"),
    }
    for segment in schema.segments:
        columns[f"segment.{segment}"] = pa.array(block.segment(segment), pa.string())
    for space, keys in block.keys.keys.items():
        columns[f"keys.{space.name}"] = to_arrow(keys, "int64")
    for analyzer, keys in block.keys.parts.items():
        columns[f"parts.{analyzer}"] = to_arrow(keys, "int64")
    for f in schema.features.request:
        if f.table is not None:
            name = request_column(schema, f.column, f.file)
            column = normalized(block.table[name]) if name == "query" else block.table[name]
            columns[f"feature.{f.name}"] = to_arrow(table_rows(f, column, vocabularies[f.table]), "int64")
    columns["dense"] = to_arrow(list_rows(_dense(block)), "float32")
    if schema.events.true_probability:
        chance = block.candidates["true_probability"].to_numpy().astype(np.float32)
        columns["true_probability"] = to_arrow(Jagged(chance, lengths), "float32")
    if repeats is not None:
        columns["excluded"] = to_arrow(_excluded(block, repeats), "int32")
    return pa.table(columns)


def list_rows(rows: NDArray[Any], lengths: NDArray[np.int64] | None = None) -> Jagged:
    """Rows of a matrix as lists: each row a list of its own, or ``lengths`` of them together."""
    per = np.ones(len(rows), np.int64) if lengths is None else lengths
    return Jagged(rows.reshape(-1), per * rows.shape[1])


def _dense(block: RawRequests) -> NDArray[np.float32]:
    numbers = [f for f in block.schema.features.request if f.kind == "number"]
    vectors = [f for f in block.schema.features.request if f.kind == "vector"]
    columns = {
        f.name: block.table[request_column(block.schema, f.column, f.file)] for f in [*numbers, *vectors]
    }
    return dense(numbers, vectors, columns, len(block))


def _label(block: RawRequests, engagements: list[str], unless: list[str]) -> NDArray[np.float32]:
    happened = np.any([block.engaged(e) for e in engagements], axis=0)
    for e in unless:
        happened &= ~block.engaged(e)
    return happened.astype(np.float32)


def _weights(schema: SearchSchema, block: RawRequests) -> NDArray[np.float32]:
    """Weight of each candidate: that of the first engagement in ``label_weights`` that happened."""
    weights = np.full(len(block.items.values), schema.impression_weight, np.float32)
    for engagement, weight in reversed(schema.label_weights.items()):
        weights[block.engaged(engagement)] = weight
    return weights


def _excluded(block: RawRequests, repeats: EngagementCountStore) -> Jagged:
    """Items that the user engaged with after the same query, before the request's history ends."""
    which, pairs = repeats.pairs_of(repeats.rows(block.repeat_keys.values))
    before = repeats.pair_counts(pairs, block.keys.history_end[which]) > 0
    return Jagged(np.asarray(repeats.items[pairs[before]]), np.bincount(which[before], minlength=len(block)))


class SplitWriter:
    """Parquet files of one split; a new file every ``file_requests`` requests."""

    def __init__(self, folder: Path, settings: PrepareSettings) -> None:
        self.folder, self.settings = folder, settings
        self.requests = self._in_file = self._files = 0
        self._writer: Any = None
        folder.mkdir()

    def write(self, table: Any) -> None:
        """Append requests."""
        pq = require("pyarrow.parquet", extra="data")
        if self._writer is None:
            path = self.folder / f"requests-{self._files:05d}.parquet"
            self._writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            self._files += 1
        self._writer.write_table(table, row_group_size=self.settings.group_requests)
        self.requests += table.num_rows
        self._in_file += table.num_rows
        if self._in_file >= self.settings.file_requests:
            self.close()

    def close(self) -> None:
        """Finish the file being written."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._in_file = None, 0
