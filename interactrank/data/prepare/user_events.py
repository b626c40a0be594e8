"""The engagements of all users, read from a staged log: what user sequences are cut from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from interactrank.cross_features.pair_index import Ints
from interactrank.data.prepare.features import staged_values, table_rows
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.data.prepared.users import Users
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import engagement, engagement_time, request_column
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import SearchSchema

__all__ = ["build_user_sequences", "write_users"]


def build_user_sequences(
    folder: Path, log: StagedLog, schema: SearchSchema, vocabularies: Mapping[str, Vocabulary]
) -> UserSequences | None:
    """Write the engagements of all users into ``folder``; None if the schema has no sequence."""
    s = schema.sequence
    if s is None:
        return None
    feature = schema.feature(s.query) if s.query else None
    column = request_column(schema, feature.column, feature.file) if feature else "query"

    def blocks() -> Iterator[tuple[Ints, ...]]:
        for batch in log.batches(_user_events(schema, column)):
            query = np.zeros(batch.num_rows, np.int64)
            if feature is not None and feature.table is not None:
                values = staged_values(batch["query"], column)
                query = table_rows(feature, values, vocabularies[feature.table]).values
            yield (
                batch["user_row"].to_numpy(),
                batch["time"].to_numpy(),
                batch["item"].to_numpy(),
                query,
                batch["action"].to_numpy(),
            )

    users = log.db.execute("SELECT count(*) FROM user_rows").fetchone()[0]
    return UserSequences.build(folder, blocks(), users)


def write_users(folder: Path, log: StagedLog) -> None:
    """Write who the users are into a dataset's folder, so that live requests find their sequences."""
    batches = log.batches('SELECT "user" FROM user_rows ORDER BY rowid')
    users = (user for batch in batches for user in batch["user"].to_pylist())
    Users.write(folder, users, log.table("SELECT * FROM users") if log.has_users else None)


def _user_events(schema: SearchSchema, query_column: str) -> str:
    """Return SQL for the events of all users, in order of user and time.

    What happened at one moment to one item of a request is one event: the first engagement in the list.
    """
    happened = " UNION ALL ".join(
        f"""SELECT request, item, {quote(engagement_time(name))} AS time, {action} AS action
        FROM candidates WHERE {quote(engagement(name))}"""
        for action, name in enumerate(schema.sequence_engagements)
    )
    return f"""SELECT r.user_row, c.time, c.item, r.{quote(query_column)} AS query, c.action
        FROM (SELECT request, item, time, min(action) AS action FROM ({happened}) GROUP BY ALL) c
        JOIN requests r USING (request) WHERE r.user_row >= 0
        ORDER BY r.user_row, c.time, c.request, c.item"""
