"""Histories: what is counted, and which of it the requests of a partition ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from interactrank.cross_features import CrossFeature, EngagementRows, ItemCosine, QueryCosine, features_of
from interactrank.cross_features.jagged import Jagged
from interactrank.data.extras import pa, pc
from interactrank.data.prepare.stores import SequenceRows, counts_rows
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.data.spark.job import Job
from interactrank.data.spark.requests import raw_requests
from interactrank.data.spark.sequences import event_blocks

__all__ = [
    "ASKS",
    "ROWS",
    "asked",
    "asked_stores",
    "counted",
    "counted_of_users",
    "counted_stores",
    "repeats_number",
]

ROWS = pa.schema([("store", pa.int32()), ("key", pa.int64()), ("item", pa.int32()), ("time", pa.int64())])
"""What is counted; ``store`` is the place of a store in :attr:`Job.stores`."""

ASKS = pa.schema([("part", pa.int32()), ("store", pa.int32()), ("key", pa.int64())])
"""That the requests of a part ask a store for a key."""


def repeats_number(job: Job) -> int:
    """Return the number of the store of repeats, which comes last."""
    return len(job.stores)


def counted_stores(job: Job) -> list[str]:
    """Return the stores that hold what was counted in requests or sequences."""
    of_users = CrossFeature.sequence_rows
    return [n for n, f in job.stores.items() if counts_rows(f) or type(f).sequence_rows is not of_users]


def asked_stores(job: Job) -> list[str]:
    """Return the stores whose rows are sent to the parts that ask for them.

    Every request asks for the key of ``key: all``: executors map the dataset's own store of it instead.
    """
    return [n for n in counted_stores(job) if getattr(job.stores[n].settings, "key", None) != "all"]


def counted(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield what some requests add to each store, as rows of :data:`ROWS`."""
    for batch in batches:
        block = raw_requests(job, pa.Table.from_batches([batch]))
        for number, (name, feature) in enumerate(job.stores.items()):
            if counts_rows(feature):
                yield from _rows(number, feature.rows_of(name, block))
        if job.schema.exclude_repeats:
            yield from _rows(repeats_number(job), block.repeat_rows())


def counted_of_users(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield what the sequences of users add to each store.

    Args:
        job: the preparation.
        batches: all engagements of some users, sorted by user and time.
    """
    first, rest = None, []
    for user, *columns in event_blocks(batches):
        if len(user):
            first = int(user[0]) if first is None else first
            rest.append((user - first, *columns))
    if first is None or job.schema.sequence is None:
        return
    with TemporaryDirectory(prefix="interactrank-spark-") as folder:
        users = int(rest[-1][0][-1]) + 1
        sequences = SequenceRows(UserSequences.build(Path(folder), rest, users), job.schema.sequence.length)
        for number, feature in enumerate(job.stores.values()):
            for rows in feature.sequence_rows(sequences):
                yield from _rows(number, rows)


def asked(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield which keys the requests of each part ask for, as rows of :data:`ASKS`; each once a batch."""
    for batch in batches:
        block = raw_requests(job, pa.Table.from_batches([batch]))
        part = batch["part"].to_numpy()
        for number, keys in _asks(job, block):
            yield from _distinct(part, number, keys)


def _asks(job: Job, block: Any) -> Iterator[tuple[int, Jagged]]:
    """Yield the number of a store and the keys that a look-up reads in it, for each request."""
    places, stores = {name: number for number, name in enumerate(job.stores)}, asked_stores(job)
    seen = set()
    for feature in features_of(job.schema):
        for name in feature.stores:
            for key in feature.key_names:
                if name in stores and (name, key) not in seen:
                    seen.add((name, key))
                    yield places[name], block.keys.keys[key]
            if isinstance(feature, ItemCosine | QueryCosine) and (name, "") not in seen:
                seen.add((name, ""))
                yield places[name], block.items  # they look up what the candidates have, too
    if job.schema.exclude_repeats:
        yield repeats_number(job), block.repeat_keys


def _distinct(part: Any, number: int, keys: Jagged) -> Iterator[pa.RecordBatch]:
    pairs = pa.table(
        {
            "part": pa.array(np.repeat(part, keys.lengths), pa.int32()),
            "key": pa.array(keys.values, pa.int64()),
        }
    )
    pairs = pairs.group_by(["part", "key"]).aggregate([])
    columns = [
        pairs["part"].combine_chunks(),
        pa.array(np.full(len(pairs), number), pa.int32()),
        pairs["key"].combine_chunks(),
    ]
    yield pa.record_batch(columns, ASKS)


def _rows(number: int, rows: EngagementRows | None) -> Iterator[pa.RecordBatch]:
    if rows is None or not len(rows.key):
        return
    arrays = [np.full(len(rows.key), number), rows.key, rows.item, rows.time]
    yield pa.record_batch([pc.cast(pa.array(a), f.type) for a, f in zip(arrays, ROWS, strict=True)], ROWS)
