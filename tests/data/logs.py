"""Tiny logs, written by hand or at random."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import parse_config
from interactrank.data import prepare_log
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_704_067_200_000  # 2024-01-01, a Monday

SCHEMA: dict[str, Any] = {
    "events": {
        "request": "request_id",
        "user": "user_id",
        "query": "query",
        "item": "item_id",
        "time": "timestamp",
        "event_time": "event_time",
        "session": "session_id",
        "split": "split",
        "position": "position",
        "impressions": True,
        "engagements": {"click": "click", "save": "save"},
    },
    "items": {"id": "item_id"},
    "users": {"id": "user_id"},
    "features": {
        "request": [
            {"name": "query_id", "kind": "id", "column": "query", "table": "query"},
            {"name": "query_words", "kind": "words", "column": "query", "table": "word"},
            {"name": "hour", "kind": "number", "column": "hour"},
            {"name": "age", "kind": "number", "column": "age", "file": "users"},
            {"name": "query_vector", "kind": "vector", "column": "query_vector", "dim": 2},
        ],
        "item": [
            {"name": "item_id", "kind": "id", "column": "item_id", "table": "item"},
            {"name": "categories", "kind": "id", "column": "categories", "table": "category"},
            {"name": "title", "kind": "words", "column": "title", "table": "word"},
            {"name": "price", "kind": "number", "column": "price"},
            {"name": "image", "kind": "vector", "column": "image", "dim": 2},
        ],
    },
    "tables": {
        "query": {"dim": 4},
        "word": {"dim": 4, "ids": "hash", "rows": 50},
        "item": {"dim": 4},
        "category": {"dim": 4, "pooling": "sum"},
    },
    "heads": [
        {"name": "like", "engagements": ["click", "save"]},
        {"name": "only_click", "engagements": ["click"], "unless": ["save"]},
    ],
    "label_weights": {"save": 5, "click": 3},
    "impression_weight": 0.5,
    "sequence": {"item": "item_id", "query": "query_id", "length": 3},
    "segments": {"country": "users"},
    "cross_features": [
        {"kind": "iqp", "key": "query", "engagement": "click"},
        {"kind": "iqp", "key": "query", "engagement": "save"},
        {"kind": "iqp", "key": "query", "engagement": "click", "window": "1d"},
        {"kind": "iqp", "key": "query", "engagement": "click", "segment": "country"},
        {"kind": "iqp", "key": "words", "engagement": "click"},
        {"kind": "iqp", "key": "trigrams", "engagement": "click", "average": "geometric"},
        {"kind": "iqp", "key": "user", "engagement": "click"},
        {"kind": "item_cosine"},
        {"kind": "item_cosine", "items": "same_query"},
        {"kind": "iqp", "key": "all", "engagement": "click"},
        {"kind": "iqp", "key": "query", "engagement": "only_click"},  # a head
        {"kind": "iqp", "key": "query", "engagement": "click", "statistic": "rate"},
        {"kind": "iqp", "key": "all", "engagement": "save", "statistic": "rate", "of": "categories"},
        {"kind": "iqp", "key": "all", "engagement": "click", "statistic": "rate", "resolution": "1h"},
        {"kind": "bm25", "columns": ["title"]},
        {"kind": "bm25", "columns": ["title", "brand"], "analyzer": "trigrams"},
        {"kind": "iqp", "key": "user", "engagement": "click", "statistic": "count", "of": "categories"},
    ],
    "exclude_repeats": True,
}


def schema(*overrides: str, without: Sequence[str] = ()) -> SearchSchema:
    """The schema above with overrides, and without some parts, such as ``events.request``."""
    values = apply_overrides(copy.deepcopy(SCHEMA), overrides)
    for path in without:
        *parents, last = path.split(".")
        at = values
        for p in parents:
            at = at[p]
        del at[last]
    return parse_config(SearchSchema, values)


def minimal(*overrides: str) -> SearchSchema:
    """A schema with next to nothing: requests, one item feature, one head."""
    values = {
        "events": {
            "query": "query",
            "item": "item_id",
            "time": "timestamp",
            "engagements": {"click": "click"},
        },
        "items": {"id": "item_id"},
        "features": {"item": [{"name": "title", "kind": "words", "column": "title", "table": "word"}]},
        "tables": {"word": {"dim": 4, "ids": "hash", "rows": 50}},
        "heads": [{"name": "click", "engagements": ["click"]}],
    }
    return parse_config(SearchSchema, apply_overrides(values, overrides))


def event(request: str, user: str, query: str, item: str, minutes: float, **others: Any) -> dict[str, Any]:
    """A row of the events file, ``minutes`` after 2024-01-01."""
    row = {
        "request_id": request,
        "user_id": user,
        "query": query,
        "item_id": item,
        "timestamp": START + int(minutes * MINUTE),
        "event_time": None,
        "session_id": request,
        "split": "train",
        "position": None,
        "click": 0,
        "save": 0,
        "hour": minutes / 60,
        "query_vector": [1.0, minutes],
    }
    return row | others


def item(name: str, title: str | None = "thing", **others: Any) -> dict[str, Any]:
    """A row of the items file."""
    row = {"item_id": name, "title": title, "brand": "acme", "categories": ["c1"], "price": 1.0}
    return row | {"image": [0.0, 1.0]} | others


def user(name: str, country: str | None = "de", age: float | None = 30) -> dict[str, Any]:
    """A row of the users file."""
    return {"user_id": name, "country": country, "age": age}


TYPES = {
    "event_time": pa.int64(),
    "position": pa.int64(),
    "query_vector": pa.list_(pa.float32()),
    "image": pa.list_(pa.float32()),
    "categories": pa.list_(pa.string()),
    "age": pa.float64(),
}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as an Arrow table; columns that may be all null keep their types."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({n: pa.array([row.get(n) for row in rows], TYPES.get(n)) for n in names})


def write_log(
    folder: Path,
    events: list[dict[str, Any]] | pa.Table,
    items: list[dict[str, Any]] | pa.Table,
    users: list[dict[str, Any]] | None = None,
) -> Path:
    """Write the Parquet files of a log."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(events if isinstance(events, pa.Table) else table(events), folder / "events.parquet")
    pq.write_table(items if isinstance(items, pa.Table) else table(items), folder / "items.parquet")
    if users is not None:
        pq.write_table(table(users), folder / "users.parquet")
    return folder


def prepared(
    folder: Path,
    events: Any,
    items: Any,
    users: Any = None,
    *,
    schema: SearchSchema,
    settings: dict[str, Any] | None = None,
) -> PreparedDataset:
    """Write a log into ``folder`` and prepare it."""
    log = write_log(folder / "log", events, items, users)
    prepare_log(
        log, folder / "out", schema, parse_config(PrepareSettings, {"threads": 1, **(settings or {})})
    )
    return PreparedDataset(folder / "out")


def requests(log: PreparedDataset, split: str = "train") -> list[dict[str, Any]]:
    """All columns of a split's requests, a dictionary each."""
    names = pq.read_schema(log.files(split)[0]).names if log.files(split) else []
    return log.read(split, names).to_pylist() if names else []


def random_log(
    seed: int, *, requests: int = 80, days: float = 60, train_days: float = 40
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Events, items and users with everything that makes time difficult: ties, late engagements, sessions."""
    random = np.random.default_rng(seed)
    words = ["red", "blue", "shoe", "hat", "sock"]
    items = [
        item(f"i{n}", " ".join(random.choice(words, 2)), price=float(n), categories=[f"c{n % 3}"])
        for n in range(12)
    ]
    users = [user(f"u{n}", ["de", "us", None][n % 3], 20.0 + n) for n in range(6)]
    events = []
    for r in range(requests):
        # Whole hours, so that requests and engagements often fall on the same moment.
        minutes = float(random.integers(0, int(days * 24)) * 60)
        split = "train" if minutes < train_days * 1440 else "test"
        who, query = f"u{random.integers(0, 7)}", " ".join(random.choice(words, random.integers(1, 3)))
        for position, n in enumerate(random.permutation(12)[: random.integers(2, 6)]):
            click, save = int(random.random() < 0.4), int(random.random() < 0.2)
            late = START + int(minutes * MINUTE) + int(random.integers(0, 72)) * HOUR
            events.append(
                event(
                    f"r{r}", who, query, f"i{n}", minutes,
                    position=position, split=split, click=click, save=save,
                    event_time=late if random.random() < 0.7 else None, session_id=f"s{r // 3}",
                )
            )  # fmt: skip
    return events, items, users
