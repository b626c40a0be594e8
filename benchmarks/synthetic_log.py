"""A large search log with impressions, drawn at random: what the benchmarks of data and evaluation read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interactrank.data import prepare_log
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

CANDIDATES = 25  # of each request
BLOCK = 20_000  # requests written at a time
START_MS, DAY_MS = 1_704_067_200_000, 86_400_000
SCHEMA: dict[str, Any] = {
    "events": {
        "request": "request_id",
        "user": "user_id",
        "query": "query",
        "item": "item_id",
        "time": "timestamp",
        "position": "position",
        "impressions": True,
        "engagements": {"click": "click", "save": "save"},
    },
    "items": {"id": "item_id"},
    "features": {
        "request": [
            {"name": "query_id", "kind": "id", "column": "query", "table": "query"},
            {"name": "query_words", "kind": "words", "column": "query", "table": "word"},
            {"name": "user_id", "kind": "id", "column": "user_id", "table": "user"},
        ],
        "item": [
            {"name": "item_id", "kind": "id", "column": "item_id", "table": "item"},
            {"name": "title", "kind": "words", "column": "title", "table": "word"},
        ],
    },
    "tables": {
        "query": {"dim": 32, "ids": "hash", "rows": 100_000},
        "word": {"dim": 32, "ids": "hash", "rows": 50_000},
        "user": {"dim": 32, "ids": "hash", "rows": 100_000},
        "item": {"dim": 32},
    },
    "heads": [{"name": "click", "engagements": ["click", "save"]}],
    "sequence": {"item": "item_id", "length": 50},
    "cross_features": [
        {"kind": "iqp", "key": "query", "engagement": "click"},
        {"kind": "iqp", "key": "query", "engagement": "click", "window": "30d"},
        {"kind": "iqp", "key": "query", "engagement": "save"},
        {"kind": "iqp", "key": "words", "engagement": "click", "average": "geometric"},
        {"kind": "iqp", "key": "user", "engagement": "click"},
        {"kind": "iqp", "key": "all", "engagement": "click", "window": "7d"},
        {"kind": "bm25", "columns": ["title"]},
    ],
}
COSINES = [
    {"kind": "item_cosine"},
    {"kind": "item_cosine", "items": "same_query"},
    {"kind": "query_cosine", "items": "same_query"},
]


def schema(sequence: int = 50, *, cosine: bool = False) -> SearchSchema:
    """What the columns mean: number of events of a user, the cosines of candidate and user's items."""
    of = copy.deepcopy(SCHEMA)
    of["sequence"]["length"] = sequence
    if cosine:
        of["sequence"]["query"] = "query_id"
        of["cross_features"] += COSINES
    return SearchSchema.model_validate(of)


def write_log(folder: Path, events: int, *, items: int | None = None, users: int | None = None) -> None:
    """A log in order of time: queries by Zipf's law, each with a pool of items."""
    random = np.random.default_rng(0)
    items = items or max(1000, events // 200)
    users = users or max(1000, events // 100)
    requests, queries = events // CANDIDATES, max(1000, events // 400)
    folder.mkdir(parents=True, exist_ok=True)
    words = np.array([f"w{n}" for n in range(20_000)])
    titles = [" ".join(t) for t in words[random.zipf(1.3, (items, 6)) % len(words)]]
    pq.write_table(pa.table({"item_id": np.arange(items), "title": titles}), folder / "items.parquet")
    texts = np.array([" ".join(t) for t in words[random.zipf(1.3, (queries, 3)) % len(words)]])
    writer: Any = None
    for first in range(0, requests, BLOCK):
        size = min(BLOCK, requests - first)
        request = np.repeat(np.arange(first, first + size), CANDIDATES)
        query = random.zipf(1.2, size) % queries
        pool = random.random((size, 2 * CANDIDATES)).argpartition(CANDIDATES, axis=1)[:, :CANDIDATES]
        shown = ((query * 7919)[:, None] + pool).reshape(-1) % items  # of the query's pool, none twice
        clicked = random.random(len(shown)) < 0.12
        table = pa.table(
            {
                "request_id": request,
                "user_id": np.repeat(random.integers(0, users, size), CANDIDATES),
                "query": pa.array(texts[query]).take(pa.array(request - first)),
                "item_id": shown,
                "timestamp": START_MS + request * (180 * DAY_MS) // requests,
                "position": np.tile(np.arange(CANDIDATES, dtype=np.int16), size),
                "click": clicked.astype(np.int8),
                "save": (clicked & (random.random(len(shown)) < 0.2)).astype(np.int8),
            }
        )
        writer = writer or pq.ParquetWriter(folder / "events.parquet", table.schema)
        writer.write_table(table)
    writer.close()


def prepared(
    folder: Path,
    events: int,
    *,
    items: int | None = None,
    users: int | None = None,
    sequence: int = 50,
    settings: PrepareSettings | None = None,
) -> PreparedDataset:
    """A log written and prepared in ``folder``, below which the raw files stay in ``log``."""
    write_log(folder / "log", events, items=items, users=users)
    prepare_log(folder / "log", folder / "prepared", schema(sequence), settings or PrepareSettings(threads=1))
    return PreparedDataset(folder / "prepared")
