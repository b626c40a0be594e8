"""prepare: a raw search log becomes request-grouped, time-ordered Parquet with features as of each request.

Memory stays bounded: DuckDB keeps to ``memory_limit`` and spills; a block of requests is in memory at a
time; histories are written as sorted arrays and read back memory-mapped. What grows with the log is the
vocabulary while it is counted (use ``ids: hash`` for unbounded ids) and the item table.
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

from interactrank.data.features import count_parts, dense, normalized, table_rows
from interactrank.data.jagged import to_arrow
from interactrank.data.request_table import SplitWriter, list_rows, request_table
from interactrank.data.requests import REPEATS, RequestBlock
from interactrank.data.settings import PrepareSettings
from interactrank.data.source import (
    SPLITS,
    LogError,
    Source,
    find_parquet,
    item_column,
    open_source,
    quote,
    request_column,
)
from interactrank.data.user_history import UserHistory
from interactrank.data.vocabulary import Vocabulary
from interactrank.extras import require
from interactrank.iqp.features import CrossFeatures, key_spaces
from interactrank.iqp.lexical import LexicalIndex
from interactrank.iqp.store import HistoryStore
from interactrank.iqp.text import ANALYZERS, normalize
from interactrank.progress import track
from interactrank.schema import SearchSchema
from interactrank.version import __version__

FORMAT = 1


def prepare(log: Path, output: Path, schema: SearchSchema, settings: PrepareSettings) -> dict[str, Any]:
    """Prepare the log in folder ``log`` into the new folder ``output``.

    An ``output`` that was made from the same files with the same schema and settings is kept as it is.
    Nothing is left behind when it fails.

    Returns:
        The manifest: rows, requests of each split, rows of each table, malformed rows by kind.

    Raises:
        LogError: the log cannot be prepared; one line that names what and the remedy.
    """
    log, output = Path(log), Path(output)
    fingerprint = _fingerprint(log, schema, settings)
    existing = _read_manifest(output)
    if existing is not None and existing.get("fingerprint") == fingerprint:
        return existing
    if output.exists() and existing is None and any(output.iterdir()):
        raise LogError(f"'{output}' exists and is not a prepared log; name a new folder")
    staging = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    staging.mkdir(parents=True)
    try:
        work = staging / "work"
        work.mkdir()
        source = open_source(log, schema, settings, work)
        try:
            manifest = _Preparation(source, schema, settings, staging).run()
        finally:
            source.db.close()
        shutil.rmtree(work)
        manifest = {"format": FORMAT, "version": __version__, "fingerprint": fingerprint, **manifest}
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1))
        if output.exists():
            shutil.rmtree(output)
        os.replace(staging, output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return None


def _fingerprint(log: Path, schema: SearchSchema, settings: PrepareSettings) -> str:
    names = ["events", "items", *(["users"] if schema.users else [])]
    files = [Path(f) for name in names for f in find_parquet(log, name)]
    seen = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    how = [FORMAT, __version__, schema.model_dump(), settings.model_dump(), seen]
    return hashlib.sha256(json.dumps(how).encode()).hexdigest()


class _Preparation:
    def __init__(self, source: Source, schema: SearchSchema, settings: PrepareSettings, output: Path) -> None:
        self.source, self.schema, self.settings, self.output = source, schema, settings, output
        self.user_history: UserHistory | None = None

    def run(self) -> dict[str, Any]:
        pa = require("pyarrow", extra="data")
        items = self.source.table("SELECT * FROM items ORDER BY rowid")
        names = [f.column for f in self.schema.features.item] + [
            c for x in self.schema.lexical for c in x.columns
        ]
        items = pa.table({"id": items["id"], **{n: items[item_column(self.schema, n)] for n in names}})
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
            "items": self.source.num_items,
            "requests": requests,
            "tables": {name: v.rows for name, v in self.vocabularies.items()},
            "numbers": self.numbers,
        }

    def _blocks(self) -> Iterator[RequestBlock]:
        step = self.settings.block_requests
        for start in range(0, self.source.num_requests, step):
            stop = min(start + step, self.source.num_requests)
            yield RequestBlock.read(self.source, self.schema, start, stop, self.user_history)

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
                count_parts(f, self._text(items[f.column], f.column), train_count, counts[f.table])
        for f in self.schema.features.request:
            if f.table in counted:
                column = request_column(self.schema, f.column)
                sql = f"""SELECT {quote(column)} AS value, count(*) AS n FROM requests
                    WHERE split = 'train' GROUP BY 1"""
                for batch in self.source.batches(sql):
                    values = self._text(batch["value"], f.column)
                    count_parts(f, values, batch["n"].to_numpy(), counts[f.table])
        result = {name: Vocabulary.count(t, counts[name]) for name, t in self.schema.tables.items()}
        for name, vocabulary in result.items():
            vocabulary.save(self.output / "vocabulary" / f"{name}.parquet")
        return result

    def _text(self, column: Any, name: str) -> Any:
        """The column; a query is normalised first, so that an id and a history mean the same query."""
        return normalized(column) if name == self.schema.events.query else column

    def _write_items(self, items: Any, train_count: NDArray[np.int64]) -> None:
        pa, pq = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
        columns: dict[str, Any] = {"id": items["id"], "train_count": pa.array(train_count)}
        for f in self.schema.features.item:
            if f.table is not None:
                rows = table_rows(f, items[f.column], self.vocabularies[f.table])
                columns[f"feature.{f.name}"] = to_arrow(rows, "int64")
        numbers = [f for f in self.schema.features.item if f.kind == "number"]
        vectors = [f for f in self.schema.features.item if f.kind == "vector"]
        block = dense(numbers, vectors, items)
        self.numbers = {f.name: _statistics(block[:, j]) for j, f in enumerate(numbers)}
        columns["dense"] = to_arrow(list_rows(block), "float32")
        pq.write_table(pa.table(columns), self.output / "items.parquet")

    def _count_request_numbers(self) -> None:
        for f in self.schema.features.request:
            if f.kind != "number":
                continue
            value = f"TRY_CAST({quote(request_column(self.schema, f.column))} AS DOUBLE)"
            found = self.source.db.execute(
                f"""SELECT min({value}), max({value}), avg({value}), stddev_samp({value}) FROM requests
                WHERE split = 'train' AND isfinite({value})"""
            ).fetchone()
            names = ("minimum", "maximum", "mean", "std")
            self.numbers[f.name] = {n: float(v or 0) for n, v in zip(names, found, strict=True)}

    def _build_user_history(self) -> UserHistory:
        s = self.schema.sequence
        assert s is not None
        names = self.schema.sequence_engagements
        action = "CASE " + " ".join(f"WHEN c.e_{n} > 0 THEN {k}" for k, n in enumerate(names)) + " END"
        sql = f"""SELECT r.user_row, c.event_time, c.item, r.query, {action} AS action
            FROM candidates c JOIN requests r USING (request)
            WHERE r.user_row >= 0 AND {action} IS NOT NULL
            ORDER BY r.user_row, c.event_time, c.request, c.item"""
        feature = self.schema.feature(s.query) if s.query else None

        def blocks() -> Iterator[tuple[Any, ...]]:
            for batch in self.source.batches(sql):
                query = np.zeros(batch.num_rows, np.int64)
                if feature is not None and feature.table is not None:
                    column = self._text(batch["query"], self.schema.events.query)
                    query = table_rows(feature, column, self.vocabularies[feature.table]).values
                yield (
                    batch["user_row"].to_numpy(),
                    batch["event_time"].to_numpy(),
                    batch["item"].to_numpy(),
                    query,
                    batch["action"].to_numpy(),
                )

        users = self.source.db.execute("SELECT count(*) FROM user_rows").fetchone()[0]
        return UserHistory.build(self.output / "work" / "user_history", blocks(), users)

    def _build_histories(self) -> None:
        """One store for each key space: exploded block by block, sorted by DuckDB, written as arrays."""
        pa, pq = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
        spaces = [*key_spaces(self.schema), *([REPEATS] if self.schema.exclude_repeats else [])]
        if not spaces:
            return
        work = self.output / "work"
        fields = pa.schema([("key", pa.int64()), ("item", pa.int32()), ("time", pa.int64())])
        writers = {s: pq.ParquetWriter(work / f"{s.name}.parquet", fields) for s in spaces}
        try:
            total = -(-self.source.num_requests // self.settings.block_requests)
            for block in track(self._blocks(), total, "history keys"):
                for space, writer in writers.items():
                    exploded = dict(zip(fields.names, block.explode(space), strict=True))
                    writer.write_table(pa.table(exploded, fields))
        finally:
            for writer in writers.values():
                writer.close()
        for space in track(spaces, len(spaces), "histories"):
            path = str(work / f"{space.name}.parquet").replace("'", "''")
            by_pair = self.source.batches(f"SELECT * FROM '{path}' ORDER BY key, item, time")
            by_key = self.source.batches(f"SELECT time FROM '{path}' ORDER BY key, time")
            HistoryStore.build(
                self.output / "history" / space.name,
                ((b["key"].to_numpy(), b["item"].to_numpy(), b["time"].to_numpy()) for b in by_pair),
                (b["time"].to_numpy() for b in by_key),
            )
            Path(work / f"{space.name}.parquet").unlink()

    def _write_requests(self) -> dict[str, int]:
        frequency: Counter[str] = Counter()
        sql = "SELECT query, count(*) FROM requests WHERE split IN ('train', 'history') GROUP BY 1"
        for query, count in self.source.db.execute(sql).fetchall():
            frequency[normalize(query)] += count
        repeats = None
        if self.schema.exclude_repeats:
            repeats = HistoryStore.open(self.output / "history" / REPEATS.name)
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
