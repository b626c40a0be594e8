"""The Spark engine: the steps of a preparation, each a job over partitions of the log.

    files -> rows of candidates            a task a file
      -> requests with their candidates    by request; then in order of time, which numbers them
      -> vocabularies, numbers             counts of partitions, added up here
      -> user sequences                    by user
      -> what is counted                   rows of (store, key, item, time), sorted
      -> rows of the dataset               by query; each part gets the rows of the keys that it asks for
      -> files                             by file

What lies between two steps is Parquet in the dataset's folder ``work``, which driver and executors see. Here
are brought together: vocabularies, statistics, what is counted of files, and, as a stream, arrays of stores.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.data.extras import duckdb, pq
from interactrank.data.prepare.column_kinds import check_column_kinds
from interactrank.data.prepare.facts import dataset_facts
from interactrank.data.prepare.prepare import prepare_log
from interactrank.data.raw.events import units_of_times
from interactrank.data.raw.files import find_files
from interactrank.data.raw.items import stage_items
from interactrank.data.raw.place import Place
from interactrank.data.raw.users import stage_users
from interactrank.data.settings import PrepareSettings
from interactrank.data.spark import steps
from interactrank.data.spark.job import ITEMS, USERS, Job, arrow_table
from interactrank.data.spark.requests import events_table, grouped_schema, parsed_schema
from interactrank.data.spark.session import open_session
from interactrank.data.spark.subset import check_columns, check_files, check_subset
from interactrank.schema import SearchSchema

__all__ = ["prepare_on_spark"]

PART_BYTES = 16 << 20
"""Bytes of the files of events for which there is a partition."""


def prepare_on_spark(
    log: str | Path,
    output: Path,
    schema: SearchSchema,
    settings: PrepareSettings,
    *,
    master: str,
    config: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Prepare a log as :func:`~interactrank.data.prepare_log` does, on the executors of Spark.

    Args:
        log: folder or URI of the log, which all executors see.
        output: the dataset's folder, on a file system that the driver and all executors see under this path.
        schema: what the columns of the log mean.
        settings: how to prepare it; ``memory_limit`` holds for each task.
        master: of Spark.
        config: further settings of Spark.

    Raises:
        MissingExtraError: PySpark is not installed.
        DatasetError: the log cannot be prepared, or not by this engine.
    """
    check_subset(schema, settings)
    with open_session(master, config) as spark:
        return prepare_log(log, output, schema, settings, _Spark(spark))


class _Spark:
    """An engine of :func:`prepare_log`.

    Args:
        spark: the session.
    """

    def __init__(self, spark: Any) -> None:
        self.spark = spark

    def content_of(self, log: str | os.PathLike[str], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return format, lent columns and SHA-256 of the files of a log, each read by a task."""
        place = Place.of(log)
        files = [(name, f) for name in names for f in find_files(place, name)]
        told = [(n, (f.format, f.partitions, f.path)) for n, (_, f) in enumerate(files)]
        hashed = self.spark.sparkContext.parallelize(told, len(told)).map(partial(_hashed, str(log)))
        by_file = dict(hashed.collect())
        return {name: [by_file[n] for n, (of, _) in enumerate(files) if of == name] for name in names}

    def prepare_into(
        self, staging: Path, log: str | os.PathLike[str], schema: SearchSchema, settings: PrepareSettings
    ) -> dict[str, Any]:
        """Write all files of a dataset but the manifest, and return what that says of them."""
        check_column_kinds(log, schema)
        parts = self._parts(log)
        self.spark.conf.set("spark.sql.shuffle.partitions", str(parts))
        described = schema.model_dump(mode="json"), settings.model_dump(mode="json")
        job = Job(str(log), str(staging), *described, parts=parts)
        job.work.mkdir()
        try:
            return self._write(job)
        finally:
            shutil.rmtree(job.work)

    def _parts(self, log: str | os.PathLike[str]) -> int:
        """Return how many partitions there are: as Spark is told, else by the size of the files."""
        told = self.spark.sparkContext.getConf().get("spark.sql.shuffle.partitions")
        if told is not None:
            return int(told)
        place = Place.of(log)
        wanted = {f.path for f in find_files(place, "events")}
        size = sum(e.size for e in place.entries(recursive=True) if e.path in wanted)
        return max(int(self.spark.sparkContext.defaultParallelism), -(-size // PART_BYTES))

    def _write(self, job: Job) -> dict[str, Any]:
        schema, settings = job.schema, job.settings
        job, has_users = self._stage_tables(job)
        requests, events, mixed = steps.make_requests(self.spark, job)
        requests, num_users = steps.place_requests(self.spark, job, requests, mixed)
        items, vocabularies, numbers = steps.count(self.spark, job, requests)
        unknown_users = steps.save_users(self.spark, job, has_users=has_users)
        steps.save_item_stores(job, items)
        if schema.sequence is not None:
            requests = steps.add_sequences(self.spark, job, requests, num_users)
        rows = steps.count_histories(self.spark, job, requests)
        steps.save_stores(job)
        found = steps.save_requests(self.spark, job, requests, rows)
        return dataset_facts(
            schema,
            settings,
            events=events,
            capped={},
            mixed=mixed,
            unknown_users=unknown_users,
            num_items=job.num_items,
            requests=found.requests,
            positives=found.positives,
            vocabularies=vocabularies,
            numbers=numbers,
        )

    def _stage_tables(self, job: Job) -> tuple[Job, bool]:
        """Stage items and users for the executors, and return the job with what they need to know."""
        place, types = Place.of(job.log), require("pyspark.sql.pandas.types", "spark")
        with duckdb.connect(str(job.work / "driver.duckdb")) as db:
            db.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '{job.settings.memory_limit}'")
            num_items = stage_items(db, place, job.schema)
            has_users = stage_users(db, place, job.schema)
            for name, wanted in ((ITEMS, True), (USERS, has_users)):
                if wanted:
                    rows = arrow_table(db, f"SELECT * FROM {name.removesuffix('.parquet')} ORDER BY rowid")
                    pq.write_table(rows, job.work / name)
            table = events_table(db, job)
            check_files(table)
            job = replace(job, num_items=num_items, units=units_of_times(db, table, job.schema))
        for fields in (parsed_schema(job), grouped_schema(job)):
            check_columns(fields)
            types.from_arrow_schema(fields)
        return job, has_users


def _hashed(log: str, file: tuple[int, tuple[str, dict[str, str | None], str]]) -> tuple[int, list[Any]]:
    number, (kind, partitions, path) = file
    return number, [kind, partitions, Place.of(log).sha256(path)]
