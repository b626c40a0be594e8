"""User sequences: the engagements of all users, sorted, and of each request those that came before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from interactrank.cross_features.jagged import Jagged
from interactrank.data.arrow_lists import to_arrow
from interactrank.data.extras import pa
from interactrank.data.prepare.user_events import user_events_of
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.data.spark.job import Job, database
from interactrank.data.spark.requests import raw_requests

__all__ = ["EVENTS", "GIVEN", "event_blocks", "events_of_users", "with_sequences"]

EVENTS = pa.schema(
    [
        ("user_row", pa.int64()),
        ("time", pa.int64()),
        ("item", pa.int32()),
        ("query", pa.int64()),
        ("action", pa.int8()),
        ("request", pa.int64()),
    ]
)
"""An engagement of a user; ``query`` is its row in the ID table."""

GIVEN = pa.schema(
    [
        ("s_item", pa.list_(pa.int32())),
        ("s_query", pa.list_(pa.int64())),
        ("s_action", pa.list_(pa.int8())),
        ("s_age", pa.list_(pa.float32())),
    ]
)
"""The user sequence of a request."""


def events_of_users(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the engagements of some requests as rows of :data:`EVENTS`."""
    for batch in batches:
        block = raw_requests(job, pa.Table.from_batches([batch]))
        number = batch["request"].to_numpy()
        with database(job) as db:
            db.register("requests", block.table)
            db.register("candidates", block.candidates)
            for *columns, request in user_events_of(db, job.schema, job.vocabularies):
                arrays = [*columns, number[request]]
                yield pa.record_batch(
                    [pa.array(a, f.type) for a, f in zip(arrays, EVENTS, strict=True)], EVENTS
                )


def event_blocks(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    """Yield blocks of (user, time, item, query, action) of sorted rows of :data:`EVENTS`."""
    for batch in batches:
        yield tuple(batch[n].to_numpy() for n in ("user_row", "time", "item", "query", "action"))


def with_sequences(job: Job, requests: pa.Table, events: pa.Table) -> pa.Table:
    """Return requests with their user sequences appended.

    Args:
        job: the preparation.
        requests: of some users, and all of theirs.
        events: all engagements of these users.
    """
    order = [(n, "ascending") for n in ("user_row", "time", "request", "item")]
    events = events.sort_by(order)
    users = np.unique(events["user_row"].to_numpy())
    with TemporaryDirectory(prefix="interactrank-spark-") as folder:
        rows = np.searchsorted(users, events["user_row"].to_numpy())
        columns = [events[n].to_numpy() for n in ("time", "item", "query", "action")]
        sequences = UserSequences.build(Path(folder), [(rows, *columns)], len(users))
        block = raw_requests(job, requests)
        user, end = block.table["user_row"].to_numpy(), block.history_end
        at = np.minimum(np.searchsorted(users, user), max(len(users) - 1, 0))
        known = (users[at] == user) if len(users) else np.zeros(len(user), bool)
        assert job.schema.sequence is not None
        found = sequences.last(np.where(known, at, -1), block.time, end, job.schema.sequence.length)
        lists = [found.item.values, found.query, found.action, found.age]
        for f, values in zip(GIVEN, lists, strict=True):
            column = to_arrow(
                Jagged(values, found.item.lengths), str(f.type.value_type).replace("float", "float32")
            )
            requests = requests.append_column(f, column.cast(f.type))
    return requests
