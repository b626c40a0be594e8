"""Counts as of a moment, C(item, query) and C(query): the count store next to joins in SQL.

Both begin with all engagements sorted and lying ready: the store that ``prepare`` wrote, and tables in
DuckDB's memory. Both count the past before a request, and its last 30 days.

Shapes: R requests, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.harness import Contestant, Group
from interactrank.cross_features.text import hash63, normalize
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings

FEATURES = ["query_click", "query_click_30d"]
WINDOW_MS = 30 * 86_400_000
Counts = tuple[NDArray[Any], NDArray[Any]]  # [C, 2] of pairs and [R, 2] of queries, of all and of the window
Form = Callable[[], Counts]


def some_requests(log: PreparedDataset, requests: int) -> PreparedRequests:
    """Training requests from all over the log."""
    settings = LoaderSettings(batch_requests=requests, shuffle_groups=1000)
    return next(SearchLoader(log, "train", settings).requests())


def store_form(log: PreparedDataset, requests: PreparedRequests) -> Form:
    """The library's: rates and supports."""
    keys, candidates = requests.keys(), requests.jagged("candidates")
    columns = [j for j, name in enumerate(log.cross.columns.rate_names) if name in FEATURES]

    def step() -> Counts:
        rate, support, *_ = log.cross.look_up(keys, candidates, only=FEATURES)
        return rate[:, columns], support[:, columns]

    return step


def database(
    events: Path, log: PreparedDataset, requests: PreparedRequests, threads: int
) -> duckdb.DuckDBPyConnection:
    """Tables of the engagements, from the raw log, and of what is asked for."""
    db = duckdb.connect(config={"threads": threads})
    clicks = f"SELECT query, item_id, timestamp FROM '{events}' WHERE click > 0"
    texts = [text for (text,) in db.execute(f"SELECT DISTINCT query FROM ({clicks})").fetchall()]
    names = pa.table({"text": texts, "key": [hash63(normalize(text)) for text in texts]})
    db.register("names", names)
    db.execute(
        f"""CREATE TABLE engagements AS SELECT key, item_id AS item, timestamp AS time
        FROM ({clicks}) JOIN names ON text = query ORDER BY ALL"""
    )
    for table, by in (("pairs", "key, item"), ("totals", "key")):  # how many there are up to each of them
        db.execute(
            f"""CREATE TABLE {table} AS SELECT DISTINCT {by}, time, count(*) OVER (
                PARTITION BY {by} ORDER BY time RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS n FROM engagements ORDER BY ALL"""
        )
    candidates = requests.jagged("candidates")
    (name,) = next(f.key_names for f in log.cross.features if f.name == FEATURES[0])
    keys = requests.keys()
    request = np.repeat(np.arange(len(requests)), candidates.lengths)
    asked = {"key": keys.keys[name].values, "time": keys.time}
    of_candidates = {name: values[request] for name, values in asked.items()} | {"item": candidates.values}
    for table, columns in (("requests", asked), ("candidates", of_candidates)):
        columns = columns | {"place": np.arange(len(columns["key"]))}
        found = pa.table(columns)
        db.register("found", found)
        db.execute(f"CREATE TABLE {table} AS SELECT *, time - {WINDOW_MS} AS start FROM found")
        db.unregister("found")
    return db


def asof_form(db: duckdb.DuckDBPyConnection) -> Form:
    """Running counts, found by ASOF joins."""

    def counts(asked: str, running: str, by: str) -> NDArray[Any]:
        return _matrix(
            db,
            f"""SELECT coalesce(p.n, 0) AS whole, coalesce(p.n, 0) - coalesce(w.n, 0) AS recent
            FROM {asked} c ASOF LEFT JOIN {running} p ON {by.format("p")} AND c.time > p.time
            ASOF LEFT JOIN {running} w ON {by.format("w")} AND c.start > w.time ORDER BY c.place""",
        )

    same_pair = "c.key = {0}.key AND c.item = {0}.item"
    return lambda: (counts("candidates", "pairs", same_pair), counts("requests", "totals", "c.key = {0}.key"))


def range_form(db: duckdb.DuckDBPyConnection) -> Form:
    """Engagements joined and counted: the SQL that one would write first."""

    def counts(asked: str, by: str) -> NDArray[Any]:
        return _matrix(
            db,
            f"""SELECT count(e.time) AS whole, count(e.time) FILTER (e.time >= c.start) AS recent
            FROM {asked} c LEFT JOIN engagements e ON {by} AND e.time < c.time
            GROUP BY c.place ORDER BY c.place""",
        )

    same_query = "c.key = e.key"
    return lambda: (counts("candidates", same_query + " AND c.item = e.item"), counts("requests", same_query))


def _matrix(db: duckdb.DuckDBPyConnection, sql: str) -> NDArray[Any]:
    found = db.execute(sql).fetchnumpy()
    return np.stack([found["whole"], found["recent"]], 1)


def forms(log: PreparedDataset, raw: Path, requests: PreparedRequests, threads: int) -> dict[str, Form]:
    """The baseline first."""
    db = database(raw / "events.parquet", log, requests, threads)
    return {"duckdb_asof": asof_form(db), "duckdb_range": range_form(db), "ours": store_form(log, requests)}


def check(of: dict[str, Form], requests: PreparedRequests) -> None:
    """All forms count the same.

    Raises:
        AssertionError: they do not.
    """
    rate, support = of["ours"]()
    request = np.repeat(np.arange(len(requests)), requests.jagged("candidates").lengths)
    ours = np.rint(rate * support[request]), support
    assert ours[0].any()
    assert (ours[0][:, 0] > ours[0][:, 1]).any()  # the window leaves something out
    for name in ("duckdb_asof", "duckdb_range"):
        for mine, theirs in zip(ours, of[name](), strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)


def group(log: PreparedDataset, raw: Path, requests: int, threads: int) -> Group:
    """The forms on the candidates of this number of requests; checked."""
    asked = some_requests(log, requests)
    of = forms(log, raw, asked, threads)
    check(of, asked)
    candidates = len(asked.jagged("candidates").values)
    return Group(
        f"iqp_join_{candidates}",
        [Contestant(name, lambda f=form: f, candidates) for name, form in of.items()],
        "candidates",
        {"part": "IQP join, by candidates", "rows": candidates},
        rounds=100,  # a limit, so that no memory is measured: all forms lie in one process
    )
