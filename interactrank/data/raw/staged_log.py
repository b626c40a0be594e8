"""StagedLog: a log in a database, with malformed rows left out and rows grouped by request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb, pa
from interactrank.data.raw.candidates import stage_candidates
from interactrank.data.raw.caps import cap_events
from interactrank.data.raw.events import EventCounts, stage_events
from interactrank.data.raw.items import stage_items
from interactrank.data.raw.joins import Unmatched, unmatched
from interactrank.data.raw.place import Place
from interactrank.data.raw.requests import stage_requests
from interactrank.data.raw.sql import first_line
from interactrank.data.raw.users import stage_users
from interactrank.data.settings import PrepareSettings, SplitSettings
from interactrank.schema import SearchSchema

__all__ = ["StagedLog", "stage_log"]


@dataclass(frozen=True)
class StagedLog:
    """The staged tables of a log, opened.

    Args:
        db: connection with the tables ``requests``, ``candidates`` and ``items``.
        events: rows of the events files, and those that were left out.
        num_items, num_requests: rows of ``items`` and ``requests``.
        has_users: whether there is a table ``users``.
        mixed: user, query, time or split -> requests that have rows of several.
        capped: setting -> rows that it left out.
        unknown_users: users of the requests that ``users`` does not have; None if it has all.
    """

    db: duckdb.DuckDBPyConnection
    events: EventCounts
    num_items: int
    num_requests: int
    has_users: bool = False
    mixed: dict[str, int] = field(default_factory=dict)
    unknown_users: Unmatched | None = None
    capped: dict[str, int] = field(default_factory=dict)

    def batches(self, sql: str, size: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query, with one record batch in memory at a time."""
        with self.db.cursor() as cursor:
            yield from cursor.sql(sql).to_arrow_reader(size)

    def table(self, sql: str) -> pa.Table:
        """Return the rows of a query as one Arrow table."""
        with self.db.cursor() as cursor:
            return cursor.sql(sql).to_arrow_table()


def stage_log(
    log: str | os.PathLike[str], schema: SearchSchema, settings: PrepareSettings, work: Path
) -> StagedLog:
    """Stage a log; what does not fit into ``settings.memory_limit`` goes to the folder ``work``.

    Raises:
        DatasetError: a file or column is missing or unreadable, item ids repeat, nothing is left to prepare,
            or (with ``strict``) a row is malformed.
    """
    by_column = SplitSettings(validation_of_train=settings.split.validation_of_train)
    if schema.events.split and settings.split != by_column:
        raise DatasetError(
            f"prepare.split has no effect: the log's column '{schema.events.split}' splits it; "
            "set schema.events.split to null to split by dates or shares"
        )
    if not schema.events.split and settings.split.validation_of_train:
        raise DatasetError(
            "prepare.split.validation_of_train goes with schema.events.split, a column that splits the log; "
            "without one, set validation_share or validation_from"
        )
    db = _connect(settings, work)
    try:
        db.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        place = Place.of(log)
        num_items = stage_items(db, place, schema)
        has_users = stage_users(db, place, schema)
        events = stage_events(db, place, schema, strict=settings.strict)
        capped = cap_events(db, schema, settings)
        db.execute("RESET disabled_optimizers")  # from here on nothing reads the files
        num_requests, mixed = stage_requests(db, schema, settings, has_users=has_users)
        unknown_users = None
        if has_users:
            unknown_users = _unknown_users(db)
        stage_candidates(db, schema)
    except duckdb.Error as error:
        db.close()
        raise DatasetError(f"'{log}': {first_line(error)}") from None
    except BaseException:
        db.close()
        raise
    return StagedLog(db, events, num_items, num_requests, has_users, mixed, unknown_users, capped)


def _unknown_users(db: duckdb.DuckDBPyConnection) -> Unmatched | None:
    missing = 'SELECT "user" AS id FROM user_rows ANTI JOIN users USING ("user")'
    known = db.execute('SELECT count(*) FROM user_rows SEMI JOIN users USING ("user")').fetchone()[0]
    return unmatched(db, missing, int(known), "users", '"user"')


def _connect(settings: PrepareSettings, work: Path) -> duckdb.DuckDBPyConnection:
    config: dict[str, Any] = {
        "memory_limit": settings.memory_limit,
        "temp_directory": str(work / "spill"),
        **({"threads": settings.threads} if settings.threads else {}),
    }
    try:
        return duckdb.connect(":memory:", config=config)  # a file would be compressed, which takes longer
    except duckdb.Error as error:
        raise DatasetError(f"prepare.memory_limit or threads: {first_line(error)}") from None
