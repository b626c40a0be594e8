"""What DuckDB takes for the least that ``prepare`` has to do: scan, sort, and one join as of each moment.

It reads all columns of the events, sorts them by time and request, counts the clicks of each (query, item)
and of each query up to each moment, and looks both up for every event by ASOF joins. ``prepare`` does that
for each of a schema's cross features, and sequences, vocabularies, and files with it.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from benchmarks.harness import Step

__all__ = ["limit_step"]

RUNNING = """CREATE OR REPLACE TEMP TABLE {name} AS SELECT DISTINCT {by}, timestamp AS at, count(*) OVER (
    PARTITION BY {by} ORDER BY timestamp RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS n
    FROM sorted WHERE click > 0"""
JOIN = """SELECT e.*, coalesce(p.n, 0) AS pairs, coalesce(k.n, 0) AS total FROM sorted e
    ASOF LEFT JOIN pairs p ON e.query = p.query AND e.item_id = p.item_id AND e.timestamp > p.at
    ASOF LEFT JOIN totals k ON e.query = k.query AND e.timestamp > k.at"""


def limit_step(log: Path, threads: int, memory_limit: str) -> Step:
    """Return what scans, sorts and joins the events of a log once; it returns how many there are."""
    folder = str(log.parent / "spill")
    db = duckdb.connect(config={"threads": threads, "memory_limit": memory_limit, "temp_directory": folder})

    def step() -> int:
        db.execute(
            f"""CREATE OR REPLACE TEMP TABLE sorted AS SELECT * FROM '{log / "events.parquet"}'
            ORDER BY timestamp, request_id, position"""
        )
        db.execute(RUNNING.format(name="pairs", by="query, item_id"))
        db.execute(RUNNING.format(name="totals", by="query"))
        return sum(batch.num_rows for batch in db.sql(JOIN).to_arrow_reader(100_000))

    return step
