"""Job: what each executor is told, and what it opens once and keeps: schema, users, vocabularies, fields."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from interactrank.core.settings import parse_config
from interactrank.cross_features import CrossFeature, features_of
from interactrank.cross_features.features import FIELDS, field_columns, field_folder
from interactrank.cross_features.item_fields import ItemFields
from interactrank.data.extras import duckdb, pa, pc, pq
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

__all__ = ["ITEMS", "USERS", "Job", "arrow_batches", "arrow_table", "database"]

ITEMS, USERS = "items.parquet", "users.parquet"  # staged tables in the folder of the work


@dataclass(frozen=True)
class Job:
    """A preparation, as it is sent to executors.

    Args:
        log: folder or URI of the log.
        output: the dataset's folder, which driver and executors see under the same path.
        schema_json, settings_json: as they are dumped.
        num_items: N.
        units: of the time columns.
        parts: partitions of the look-ups.
        modules: imported before anything else.
    """

    log: str
    output: str
    schema_json: dict[str, Any]
    settings_json: dict[str, Any]
    num_items: int = 0
    units: dict[str, str | None] = field(default_factory=dict)
    parts: int = 8
    modules: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was opened: every process opens its own."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def work(self) -> Path:
        """The folder of what lies between two steps."""
        return Path(self.output) / "work"

    @cached_property
    def schema(self) -> SearchSchema:
        """The schema of the log."""
        for name in self.modules:
            importlib.import_module(name)
        return parse_config(SearchSchema, self.schema_json)

    @cached_property
    def settings(self) -> PrepareSettings:
        """How to prepare it."""
        return parse_config(PrepareSettings, self.settings_json)

    @cached_property
    def stores(self) -> dict[str, CrossFeature[Any]]:
        """Name of each store -> the first feature that has it, in order; their numbers are their places."""
        found: dict[str, CrossFeature[Any]] = {}
        for feature in features_of(self.schema):
            for name in feature.stores:
                found.setdefault(name, feature)
        return found

    @cached_property
    def users(self) -> pa.Table | None:
        """The staged users; None without a users file."""
        path = self.work / USERS
        return pq.read_table(path) if path.exists() else None

    @cached_property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """The vocabulary of each ID table."""
        folder = Path(self.output) / "vocabulary"
        return {n: Vocabulary.open(t, folder / f"{n}.parquet") for n, t in self.schema.tables.items()}

    @property
    def query_vocabulary(self) -> Vocabulary | None:
        """That of the queries of user sequences; None without them."""
        s = self.schema.sequence
        table = None if s is None or s.query is None else self.schema.feature(s.query).table
        return None if table is None else self.vocabularies[table]

    @cached_property
    def fields(self) -> dict[str, ItemFields]:
        """Columns of the items file by whose values is counted."""
        folder = Path(self.output) / FIELDS
        return {c: ItemFields.open(folder / field_folder(c)) for c in field_columns(features_of(self.schema))}

    def columns_of_users(self, user: pa.Array) -> dict[str, pa.Array]:
        """Return the columns of the users file that requests need, for the user of each request."""
        if self.users is None:
            return {}
        at = pc.index_in(user, value_set=self.users["user"].combine_chunks())
        return {n: self.users[n].take(at) for n in self.users.column_names if n != "user"}


@contextmanager
def database(job: Job) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database of one task in a folder of its own, which is removed in the end."""
    with TemporaryDirectory(prefix="interactrank-spark-") as folder:
        config = {"memory_limit": job.settings.memory_limit, "threads": 1, "temp_directory": folder}
        with duckdb.connect(f"{folder}/task.duckdb", config=config) as db:
            db.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            yield db


def arrow_table(db: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Return the rows of a query; a cursor of its own does not meet results that were not fetched."""
    with db.cursor() as cursor:
        return cursor.sql(sql).to_arrow_table()


def arrow_batches(db: duckdb.DuckDBPyConnection, sql: str, size: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query, with one batch in memory at a time."""
    with db.cursor() as cursor:
        yield from cursor.sql(sql).to_arrow_reader(size)
