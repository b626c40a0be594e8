"""The engagements of all users, read from a staged log: what user sequences are cut from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from interactrank.cross_features.pair_index import Ints
from interactrank.data.extras import duckdb
from interactrank.data.prepare.features import staged_values, table_rows
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.data.prepared.users import Users
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import engagement, engagement_time, request_column
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import SearchSchema

__all__ = ["build_user_sequences", "user_events_of", "write_users"]


def build_user_sequences(
    folder: Path, log: StagedLog, schema: SearchSchema, vocabularies: Mapping[str, Vocabulary]
) -> UserSequences | None:
    """Write the engagements of all users into ``folder``; None if the schema has no sequence."""
    if schema.sequence is None:
        return None
    users = log.db.execute("SELECT count(*) FROM user_rows").fetchone()[0]
    with log.db.cursor() as db:
        blocks = (columns[:-1] for columns in user_events_of(db, schema, vocabularies))
        return UserSequences.build(folder, blocks, users)


def user_events_of(
    db: duckdb.DuckDBPyConnection, schema: SearchSchema, vocabularies: Mapping[str, Vocabulary]
) -> Iterator[tuple[Ints, ...]]:
    """Yield blocks of (user row, time, item, query, action, request) of the tables requests and candidates.

    They come in order of user and time; ``query`` is the row of the event's query in its ID table.
    """
    s = schema.sequence
    assert s is not None
    feature = schema.feature(s.query) if s.query else None
    column = request_column(schema, feature.column, feature.file) if feature else "query"
    for batch in db.sql(_user_events(schema, column)).to_arrow_reader(65_536):
        query = np.zeros(batch.num_rows, np.int64)
        if feature is not None and feature.table is not None:
            values = staged_values(batch["query"], column)
            query = table_rows(feature, values, vocabularies[feature.table]).values
        user, time, item, action, request = (
            batch[n].to_numpy() for n in ("user_row", "time", "item", "action", "request")
        )
        yield user, time, item, query, action, request


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
    return f"""SELECT r.user_row, c.time, c.item, r.{quote(query_column)} AS query, c.action, c.request
        FROM (SELECT request, item, time, min(action) AS action FROM ({happened}) GROUP BY ALL) c
        JOIN requests r USING (request) WHERE r.user_row >= 0
        ORDER BY r.user_row, c.time, c.request, c.item"""
