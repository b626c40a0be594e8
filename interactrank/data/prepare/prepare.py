"""prepare: a raw search log becomes request-grouped, time-ordered Parquet with features as of each request.

Memory is bounded, whatever the length of the log, by the sum of

- ``memory_limit``, to which DuckDB keeps; beyond it, sorts, joins and groups spill to disk;
- one block of ``block_requests`` requests: their candidates times the keys of a query, some 100 bytes each;
- the items file, its features and the index of its text;
- the values of vocabularies while they are counted, some 150 bytes each (``ids: hash`` for unbounded ids);
- 16 bytes for each distinct query and 8 for each user.

Histories are written as sorted arrays and read back memory-mapped: pages that the system may drop. Measured
on 20 million events: ``benchmarks/results``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.extras import require
from interactrank.core.manifest import Manifest
from interactrank.core.progress import track
from interactrank.cross_features.bm25 import LexicalIndex
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.features import CrossFeatures, key_spaces
from interactrank.cross_features.text import ANALYZERS
from interactrank.data.arrow_lists import to_arrow
from interactrank.data.errors import DatasetError
from interactrank.data.prepare.features import count_parts, dense, normalized, table_rows
from interactrank.data.prepare.query_frequency import QueryFrequency
from interactrank.data.prepare.raw_requests import REPEATS, RawRequests
from interactrank.data.prepare.request_table import SplitWriter, list_rows, request_table
from interactrank.data.prepare.user_sequences import UserHistory
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.prepared.manifest import FORMAT, read_manifest
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.source import (
    Source,
    find_parquet,
    first_line,
    item_column,
    open_source,
    quote,
    request_column,
)
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema
from interactrank.version import __version__


def prepare(log: Path, output: Path, schema: SearchSchema, settings: PrepareSettings) -> dict[str, Any]:
    """Prepare the log in folder ``log`` into the new folder ``output``.

    An ``output`` that was made from the same files with the same schema and settings is kept as it is, unless
    a file of it is damaged.
    Nothing is left behind when it fails.

    Returns:
        The manifest: rows, requests of each split, rows of each table, malformed rows by kind, files.

    Raises:
        DatasetError: the log cannot be prepared; one line that names what and the remedy.
    """
    log, output = Path(log), Path(os.path.abspath(output))
    fingerprint = _fingerprint(log, schema, settings)
    existing = read_manifest(output)
    if existing is not None:
        earlier = Manifest(files=existing["files"])
        if existing["fingerprint"] == fingerprint and earlier.damage(output, checksums=True) is None:
            return existing
    elif output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise DatasetError(f"'{output}' exists and is not a prepared log; name a new folder")
    replaces = () if existing is None else earlier.entries()
    with atomic_directory(output, replaces=replaces) as staging:
        facts = {"format": FORMAT, "version": __version__, "fingerprint": fingerprint}
        facts |= _prepare_into(staging, log, schema, settings)
        manifest = Manifest.of(staging, facts)
        manifest.write(staging)
    return manifest.to_json()


def _prepare_into(
    staging: Path, log: Path, schema: SearchSchema, settings: PrepareSettings
) -> dict[str, Any]:
    duckdb = require("duckdb", extra="data")
    work = staging / "work"
    work.mkdir()
    source = open_source(log, schema, settings, work)
    try:
        return _Preparation(source, schema, settings, staging).run()
    except duckdb.Error as error:
        raise DatasetError(f"'{log}': {first_line(error)}") from None
    finally:
        source.db.close()
        shutil.rmtree(work)


def _fingerprint(log: Path, schema: SearchSchema, settings: PrepareSettings) -> str:
    """What the output depends on: the files, what they mean and how they are prepared."""
    names = ["events", "items", *(["users"] if schema.users else [])]
    files = [Path(f) for name in names for f in find_parquet(log, name)]
    seen = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    chosen = settings.model_dump(exclude={"memory_limit", "threads"})
    how = [FORMAT, __version__, schema.model_dump(), chosen, seen]
    return hashlib.sha256(json.dumps(how).encode()).hexdigest()


class _Preparation:
    def __init__(self, source: Source, schema: SearchSchema, settings: PrepareSettings, output: Path) -> None:
        self.source, self.schema, self.settings, self.output = source, schema, settings, output
        self.user_history: UserHistory | None = None

    def run(self) -> dict[str, Any]:
        pa = require("pyarrow", extra="data")
        items = self.source.table("SELECT * FROM items ORDER BY rowid")
        names = [f.column for f in self.schema.features.item]
        names += [c for x in self.schema.lexical for c in x.columns]
        items = pa.table({"id": items["id"], **{n: items[item_column(self.schema, n)] for n in names}})
        self._check_sequence_columns(items)
        train_count = self._train_count()
        self.vocabularies = self._count_vocabularies(items, train_count)
        self._write_items(items, train_count)
        self._count_request_numbers()
        if self.schema.sequence is not None:
            self.user_history = self._build_user_history()
        self._build_histories()
        for feature in self.schema.lexical:
            columns = [items[c].to_pylist() for c in feature.columns]
            texts = [" ".join(t for t in row if t) for row in zip(*columns, strict=True)]
            parts = [ANALYZERS[feature.analyzer](text) for text in texts]
            LexicalIndex.build(self.output / "lexical" / feature.name, parts, feature)
        self.cross = CrossFeatures.open(self.output, self.schema, self.source.num_items)
        requests = self._write_requests()
        return {
            "schema": self.schema.model_dump(),
            "settings": self.settings.model_dump(),
            "events": self.source.rows,
            "malformed": self.source.malformed,
            "without_engagement": self.source.unengaged,
            "items": self.source.num_items,
            "requests": requests,
            "tables": {name: v.rows for name, v in self.vocabularies.items()},
            "numbers": self.numbers,
        }

    def _check_sequence_columns(self, items: Any) -> None:
        """The tables of the user sequence give one row to a value: a list of values has no place there."""
        pa = require("pyarrow", extra="data")
        requests = self.source.table("SELECT * FROM requests LIMIT 0")
        for side, table in (("request", requests), ("item", items)):
            for f in getattr(self.schema.features, side):
                name = f.column if side == "item" else request_column(self.schema, f.column, f.file)
                if f.table in self.schema.sequence_tables and pa.types.is_nested(table[name].type):
                    raise DatasetError(
                        f"feature '{f.name}': column '{f.column}' holds lists, but table '{f.table}' is the "
                        "user sequence's, where a value has one row; give the feature a table of its own"
                    )

    def _blocks(self) -> Iterator[RawRequests]:
        step = self.settings.block_requests
        for start in range(0, self.source.num_requests, step):
            stop = min(start + step, self.source.num_requests)
            yield RawRequests.read(
                self.source, self.schema, start, stop, self.user_history, self._query_vocabulary()
            )

    def _query_vocabulary(self) -> Vocabulary | None:
        s = self.schema.sequence
        table = None if s is None or s.query is None else self.schema.feature(s.query).table
        return None if table is None else self.vocabularies[table]

    def _train_count(self) -> NDArray[np.int64]:
        """[N] engagements of each item in the train split; impressions of it where the log has them."""
        sql = """SELECT c.item, count(*) AS n FROM candidates c JOIN requests r USING (request)
            WHERE r.split = 'train' GROUP BY 1"""
        found = self.source.table(sql)
        counts = np.zeros(self.source.num_items, np.int64)
        counts[found["item"].to_numpy()] = found["n"].to_numpy()
        return counts

    def _count_vocabularies(self, items: Any, train_count: NDArray[np.int64]) -> dict[str, Vocabulary]:
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.schema.tables}
        counted = {n for n, t in self.schema.tables.items() if t.ids == "vocabulary"}
        for f in self.schema.features.item:
            if f.table in counted:
                count_parts(f, items[f.column], train_count, counts[f.table])
        for f in self.schema.features.request:
            if f.table in counted:
                column = request_column(self.schema, f.column, f.file)
                sql = f"""SELECT {quote(column)} AS value, count(*) AS n FROM requests
                    WHERE split = 'train' GROUP BY 1"""
                for batch in self.source.batches(sql):
                    count_parts(f, _text(batch["value"], column), batch["n"].to_numpy(), counts[f.table])
        result = {name: Vocabulary.count(t, counts[name]) for name, t in self.schema.tables.items()}
        for name, vocabulary in result.items():
            vocabulary.save(self.output / "vocabulary" / f"{name}.parquet")
        return result

    def _write_items(self, items: Any, train_count: NDArray[np.int64]) -> None:
        pa, pq = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
        columns: dict[str, Any] = {"id": items["id"], "train_count": pa.array(train_count)}
        for f in self.schema.features.item:
            if f.table is not None:
                rows = table_rows(f, items[f.column], self.vocabularies[f.table])
                columns[f"feature.{f.name}"] = to_arrow(rows, "int64")
        numbers = [f for f in self.schema.features.item if f.kind == "number"]
        vectors = [f for f in self.schema.features.item if f.kind == "vector"]
        block = dense(numbers, vectors, {f.name: items[f.column] for f in [*numbers, *vectors]}, len(items))
        self.numbers = {f.name: _statistics(block[:, j]) for j, f in enumerate(numbers)}
        columns["dense"] = to_arrow(list_rows(block), "float32")
        pq.write_table(pa.table(columns), self.output / "items.parquet")

    def _count_request_numbers(self) -> None:
        for f in self.schema.features.request:
            if f.kind != "number":
                continue
            value = f"TRY_CAST({quote(request_column(self.schema, f.column, f.file))} AS FLOAT)::DOUBLE"
            found = self.source.db.execute(
                f"""SELECT min({value}), max({value}), avg({value}), stddev_samp({value}) FROM requests
                WHERE split = 'train' AND isfinite({value})"""
            ).fetchone()
            names = ("minimum", "maximum", "mean", "std")
            self.numbers[f.name] = {n: float(v or 0) for n, v in zip(names, found, strict=True)}

    def _build_user_history(self) -> UserHistory:
        s = self.schema.sequence
        assert s is not None
        feature = self.schema.feature(s.query) if s.query else None
        column = request_column(self.schema, feature.column, feature.file) if feature else "query"
        happened = " UNION ALL ".join(
            f"""SELECT request, item, {quote("t_" + name)} AS time, {action} AS action
            FROM candidates WHERE {quote("e_" + name)}"""
            for action, name in enumerate(self.schema.sequence_engagements)
        )
        # What happened at one moment to one item of a request is one event: the first engagement in the list.
        sql = f"""SELECT r.user_row, c.time, c.item, r.{quote(column)} AS query, c.action
            FROM (SELECT request, item, time, min(action) AS action FROM ({happened}) GROUP BY ALL) c
            JOIN requests r USING (request) WHERE r.user_row >= 0
            ORDER BY r.user_row, c.time, c.request, c.item"""

        def blocks() -> Iterator[tuple[Any, ...]]:
            for batch in self.source.batches(sql):
                query = np.zeros(batch.num_rows, np.int64)
                if feature is not None and feature.table is not None:
                    vocabulary = self.vocabularies[feature.table]
                    query = table_rows(feature, _text(batch["query"], column), vocabulary).values
                yield (
                    batch["user_row"].to_numpy(),
                    batch["time"].to_numpy(),
                    batch["item"].to_numpy(),
                    query,
                    batch["action"].to_numpy(),
                )

        users = self.source.db.execute("SELECT count(*) FROM user_rows").fetchone()[0]
        return UserHistory.build(self.output / "work" / "user_history", blocks(), users)

    def _build_histories(self) -> None:
        """One store for each key space: exploded block by block, sorted by DuckDB, written as arrays."""
        pa, pq = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
        wanted = [s.store for s in key_spaces(self.schema)]
        spaces = list(dict.fromkeys([*wanted, *([REPEATS] if self.schema.exclude_repeats else [])]))
        if not spaces:
            return
        work = self.output / "work"
        fields = pa.schema([("key", pa.int64()), ("item", pa.int32()), ("time", pa.int64())])
        writers = {s: pq.ParquetWriter(work / f"{s.name}.parquet", fields) for s in spaces}
        try:
            total = -(-self.source.num_requests // self.settings.block_requests)
            for block in track(self._blocks(), total, "history keys"):
                for space, writer in writers.items():
                    if space.key != "history":  # those come from the user sequences, below
                        exploded = dict(zip(fields.names, block.explode(space), strict=True))
                        writer.write_table(pa.table(exploded, fields))
            for space, writer in writers.items():
                if space.key == "history" and self.user_history is not None and self.schema.sequence:
                    length = self.schema.sequence.length
                    history = self.user_history
                    for rows in history.queries() if space.over else history.shared(length):
                        writer.write_table(pa.table(dict(zip(fields.names, rows, strict=True)), fields))
        finally:
            for writer in writers.values():
                writer.close()
        for space in track(spaces, len(spaces), "histories"):
            path = str(work / f"{space.name}.parquet").replace("'", "''")
            by_pair = self.source.batches(f"SELECT * FROM '{path}' ORDER BY key, item, time")
            by_key = self.source.batches(f"SELECT time FROM '{path}' ORDER BY key, time")
            EngagementCountStore.build(
                self.output / "history" / space.name,
                ((b["key"].to_numpy(), b["item"].to_numpy(), b["time"].to_numpy()) for b in by_pair),
                (b["time"].to_numpy() for b in by_key),
            )
            Path(work / f"{space.name}.parquet").unlink()

    def _write_requests(self) -> dict[str, int]:
        sql = "SELECT query, count(*) AS n FROM requests WHERE split IN ('train', 'history') GROUP BY 1"
        counted = self.source.batches(sql)
        frequency = QueryFrequency((b["query"].to_pylist(), b["n"].to_numpy()) for b in counted)
        repeats = None
        if self.schema.exclude_repeats:
            repeats = EngagementCountStore.open(self.output / "history" / REPEATS.name)
        writers = {split: SplitWriter(self.output / split, self.settings) for split in SPLITS}
        try:
            total = -(-self.source.num_requests // self.settings.block_requests)
            for block in track(self._blocks(), total, "requests"):
                table = request_table(
                    block,
                    vocabularies=self.vocabularies,
                    cross=self.cross,
                    train_frequency=frequency,
                    repeats=repeats,
                )
                split = np.array(block.table["split"].to_pylist())
                for name, writer in writers.items():
                    rows = np.flatnonzero(split == name)
                    if len(rows):
                        writer.write(table.take(rows))
        finally:
            for writer in writers.values():
                writer.close()
        return {name: writer.requests for name, writer in writers.items()}


def _text(column: Any, name: str) -> Any:
    """A column of requests; the query is normalised, so that an id and a history mean the same query."""
    return normalized(column) if name == "query" else column


def _statistics(values: NDArray[np.float32]) -> dict[str, float]:
    """What a number feature is normalised by; zeros where no value is known."""
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return {"minimum": 0.0, "maximum": 0.0, "mean": 0.0, "std": 0.0}
    std = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return {
        "minimum": float(known.min()),
        "maximum": float(known.max()),
        "mean": float(known.mean()),
        "std": std,
    }
