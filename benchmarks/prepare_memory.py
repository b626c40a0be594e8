"""Memory and time of ``prepare`` on a large synthetic log with impressions.

    python benchmarks/prepare_memory.py --events 20000000

Writes the log, prepares it in a process of its own, prints the result as JSON and writes it to
``benchmarks/results/prepare_memory_<events>.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interactrank.data.prepare import prepare
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema
from interactrank.version import __version__

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
    "iqp": [
        {"key": "query", "engagement": "click"},
        {"key": "query", "engagement": "click", "window": "30d"},
        {"key": "query", "engagement": "save"},
        {"key": "words", "engagement": "click", "average": "geometric"},
        {"key": "user", "engagement": "click"},
        {"key": "all", "engagement": "click", "window": "7d"},
    ],
    "lexical": [{"columns": ["title"]}],
}

COSINES = [
    {"key": "history", "average": "cosine"},
    {"key": "history_query", "average": "cosine"},
    {"key": "history_query", "average": "cosine", "over": "queries"},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument(
        "--memory-limit", default="2GB", help="prepare.memory_limit, that of the query engine"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--folder", type=Path, help="where log and output are made; default: the temporary folder"
    )
    parser.add_argument(
        "--cosine", action="store_true", help="with the cosines of a candidate and the user's items"
    )
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)  # the process that is measured
    options = parser.parse_args()
    if options.prepare:
        print(json.dumps(measure(options.prepare, options.memory_limit, options.threads, options.cosine)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        log = Path(folder) / "log"
        log.mkdir()
        write_log(log, options.events)
        size = sum(f.stat().st_size for f in log.iterdir())
        command = [sys.executable, __file__, "--prepare", str(log), "--memory-limit", options.memory_limit]
        command += ["--threads", str(options.threads), *(["--cosine"] if options.cosine else [])]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    result["log_gib"] = round(size / 2**30, 2)
    print(json.dumps(result, indent=1))
    write_report(result)


def write_log(folder: Path, events: int) -> None:
    """A log in order of time: queries by Zipf's law, each with a pool of items."""
    random = np.random.default_rng(0)
    requests, items = events // CANDIDATES, max(1000, events // 200)
    queries, users = max(1000, events // 400), max(1000, events // 100)
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


def measure(log: Path, memory_limit: str, threads: int, cosine: bool) -> dict[str, Any]:
    """Prepare the log here and say what it took."""
    started, cpu = time.perf_counter(), time.process_time()
    before = peak_mib()
    settings = PrepareSettings(memory_limit=memory_limit, threads=threads)
    output = log.parent / "prepared"
    schema = copy.deepcopy(SCHEMA)
    if cosine:
        schema["sequence"]["query"] = "query_id"
        schema["iqp"] += COSINES
    manifest = prepare(log, output, SearchSchema.model_validate(schema), settings)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "events": manifest["events"],
        "requests": sum(manifest["requests"].values()),
        "items": manifest["items"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "events_per_second": round(manifest["events"] / seconds),
        "peak_rss_mib": round(peak_mib()),
        "rss_after_imports_mib": round(before),
        "memory_limit": memory_limit,
        "block_requests": settings.block_requests,
        "threads": threads,
        "output_gib": round(sum(f.stat().st_size for f in output.rglob("*") if f.is_file()) / 2**30, 2),
        "cosines": len(COSINES) if cosine else 0,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "pyarrow": pa.__version__,
        "interactrank": __version__,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": f"python benchmarks/prepare_memory.py --events {manifest['events']}"
        + (" --cosine" if cosine else ""),
    }


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def write_report(result: dict[str, Any]) -> None:
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"prepare_memory_{result['events']}{'_cosine' if result['cosines'] else ''}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    lines = [
        f"# prepare: {result['events']:,} events in {result['peak_rss_mib']:,} MiB",
        "",
        f"`{result['command']}`",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {value} |" for name, value in result.items() if name != "command"),
    ]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
