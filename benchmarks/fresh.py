"""Events that are recorded while requests are ranked: how many, at what price, and whether each counts.

    python -m benchmarks.fresh

A pre-ranker on a synthetic log ranks 1,000 candidates a request, at moments of a Poisson process that does
not wait for answers, while events are recorded: an impression a row, every eighth a click. Its log of events
lies in a folder, flushed to disk before it acknowledges. Then clicks are recorded one by one, and the next
request must know each: one more click of the query, of the user, and in the user's sequence.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks import machine, report, synthetic_log, tables
from interactrank.checkpoint.weights import save_model
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.distributed.world import process_group
from interactrank.models import InteractRank, ModelSettings
from interactrank.serving import PreRanker
from interactrank.serving.export import export_model

RESULTS = Path(__file__).parent / "results"
QUESTION = "what do events cost that are recorded while requests go on, and does each count in the next one?"
CANDIDATES = 1000
EVENTS_OF_A_USER = 10
LOADS = ((0, 200), (1_000, 200), (10_000, 200), (50_000, 200))  # events and requests a second
OFFERED = ["events/s offered", "events/s", "requests/s offered", "requests/s"]


def exported(folder: Path, events: int, items: int, users: int) -> Path:
    """An export of a model that was not trained, on a synthetic log."""
    log = synthetic_log.prepared(folder, events, items=items, users=users)
    torch.manual_seed(0)
    model = InteractRank(layout=log.layout, settings=ModelSettings()).eval()
    weights = folder / "model.safetensors"
    with process_group("cpu"):
        save_model(model, weights)
    facts = {
        "model": {"name": "interactrank", "settings": ModelSettings().model_dump(mode="json")},
        "head_weights": {"click": 1.0},
    }
    export_model(model, log, folder / "export", weights=weights, facts=facts)
    return folder / "export"


class Traffic:
    """Events and requests at random, of the queries, users and items of a log."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        columns = ["query", "user_id", "item_id"]
        of = pq.read_table(folder / "log" / "events.parquet", columns=columns).slice(0, 500_000)
        self.rows = list(zip(*(of[c].to_pylist() for c in columns), strict=True))
        self.items = int(max(item for *_, item in self.rows)) + 1
        self.requests = seed << 32

    def events(self, rows: int) -> list[dict[str, Any]]:
        """Rows of requests that are made now."""
        now, found = time.time_ns() // 1_000_000, []
        for n, at in enumerate(self.random.integers(0, len(self.rows), rows).tolist()):
            query, user, item = self.rows[at]
            if n % 25 == 0:
                self.requests += 1
                first = query, user
            row = {"request_id": self.requests, "query": first[0], "user_id": first[1], "item_id": item}
            found.append(row | {"timestamp": now, "position": n % 25, "click": int(n % 8 == 0), "save": 0})
        return found

    def request(self) -> tuple[dict[str, Any], Any]:
        """A request and its candidates."""
        query, user, _ = self.rows[int(self.random.integers(0, len(self.rows)))]
        rows = self.random.choice(self.items, min(CANDIDATES, self.items // 2), replace=False)
        return {"query": query, "user_id": user}, rows


def under_load(
    ranker: PreRanker, folder: Path, events: int, requests: int, seconds: float, block: int
) -> list[Any]:
    """A row of the table: what was offered, what was done, and how long answers took."""
    stop = threading.Event()
    recorded = [0]

    def write() -> None:
        traffic = Traffic(folder, 1)
        blocks = [traffic.events(block) for _ in range(20)]
        start = time.perf_counter()
        while not stop.is_set():
            ahead = recorded[0] / events - (time.perf_counter() - start)
            if ahead > 0:
                time.sleep(ahead)
            rows = blocks[(recorded[0] // block) % len(blocks)]
            traffic.requests += len(rows)
            now = time.time_ns() // 1_000_000
            fresh = [r | {"request_id": traffic.requests + r["request_id"], "timestamp": now} for r in rows]
            recorded[0] += ranker.record(fresh).events

    traffic = Traffic(folder, 2)
    asked = [traffic.request() for _ in range(max(1, int(requests * seconds)))]
    due = np.cumsum(traffic.random.exponential(1 / requests, len(asked)))
    for request, rows in asked[:20]:
        ranker.rank(request, rows, k=100)
    taken: list[float] = []

    def ask(n: int, start: float) -> None:
        ranker.rank(asked[n][0], asked[n][1], k=100)
        taken.append(time.perf_counter() - start - due[n])

    writer = threading.Thread(target=write) if events else None
    with ThreadPoolExecutor(4) as threads:
        start = time.perf_counter()
        if writer is not None:
            writer.start()
        for n, at in enumerate(due):
            time.sleep(max(0.0, start + at - time.perf_counter()))
            threads.submit(ask, n, start)
        stop.set()
        during = time.perf_counter() - start
    lasted = time.perf_counter() - start
    if writer is not None:
        writer.join()
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    runs = max(len(getattr(s, "runs", ())) for s in ranker.fresh.histories().cross.stores.values())
    return [events, recorded[0] / during, requests, len(taken) / lasted, float(p50), float(p99), runs]


def clicks_that_count(ranker: PreRanker, folder: Path, trials: int) -> list[list[Any]]:
    """Record clicks one by one; the next request must know each."""
    traffic, counted = Traffic(folder, 3), 0
    names = ("query_click", "user_click")
    record_s, rank_s = [], []
    for _ in range(trials):
        (event,) = traffic.events(1)
        request = {"query": event["query"], "user_id": event["user_id"]}
        before = ranker.rank(request, [str(event["item_id"])], explain=True).explanations
        start = time.perf_counter()
        ranker.record([event | {"click": 1, "save": 0, "timestamp": time.time_ns() // 1_000_000}])
        record_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        after = ranker.rank(request, [str(event["item_id"])], explain=True).explanations
        rank_s.append(time.perf_counter() - start)
        assert before is not None
        assert after is not None
        newest = ranker._live.read([request], ranker.fresh.histories()).requests.table["events.item"]
        counted += newest.to_pylist()[0][0] == event["item_id"] and all(
            after[0].support[name] == before[0].support[name] + 1 for name in names
        )
    ms = [float(x) * 1000 for of in (record_s, rank_s) for x in np.percentile(of, [50, 99])]
    return [[trials, counted, *ms]]


def sequence_bytes(ranker: PreRanker, folder: Path, users: int) -> list[list[Any]]:
    """Bytes of sequences for each user, in the export and of what is recorded."""
    files = [p for p in (ranker.version.folder / "users").rglob("*") if p.is_file()]
    base = ranker.fresh.histories().sequences
    assert base is not None
    logged, held = len(base.base.offsets) - 1, len(base.base.time)
    rows = [["in the export", logged, held / logged, sum(p.stat().st_size for p in files) / logged]]
    fresh = PreRanker.open(folder / "export")
    traffic = Traffic(folder, 4)
    for start in range(0, users, 1000):
        block = traffic.events(EVENTS_OF_A_USER * min(1000, users - start))
        for n, row in enumerate(block):
            user = start + n // EVENTS_OF_A_USER
            row |= {"request_id": f"{user} {n}", "user_id": f"new {user}", "click": 1, "save": 0}
        fresh.record(block)
    sequences = fresh.fresh.histories().sequences
    assert sequences is not None
    return [*rows, ["recorded", users, EVENTS_OF_A_USER, sequences.nbytes / users]]


def main(arguments: list[str] | None = None) -> Path:
    """Measure, write the result and return the path of the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=500_000, help="rows of the log that is exported")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=5_000, help="of the log, and of recorded sequences")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--block", type=int, default=1000, help="rows of a call")
    parser.add_argument("--trials", type=int, default=10_000, help="clicks, each of them must count")
    parser.add_argument("--smoke", "--tiny", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result files")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.events, options.items, options.users = 5000, 300, 50
        options.seconds, options.block, options.trials = 0.5, 50, 10
    silence_known_warnings()
    torch.set_num_threads(1)
    before = machine.load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = exported(folder, options.events, options.items, options.users)
        loads = []
        for number, (events, requests) in enumerate(LOADS):
            ranker = PreRanker.open(artifact, events=folder / f"events_{number}")
            loads.append(under_load(ranker, folder, events, requests, options.seconds, options.block))
        alone = PreRanker.open(artifact, events=folder / "clicks")
        clicks = clicks_that_count(alone, folder, options.trials)
        sizes = sequence_bytes(alone, folder, options.users)
    found = [
        report.Table(
            title="Events while requests go on",
            columns=[*OFFERED, "p50 ms", "p99 ms", "runs"],
            rows=loads,
            note=f"{CANDIDATES:,} candidates of {options.items:,} items a request, {options.block:,} rows a "
            "call of record; times from the moment when a request was due; runs: of the largest store.",
        ),
        report.Table(
            title="Clicks that count in the next request",
            columns=["clicks", "counted", "record p50 ms", "p99", "rank and explain p50 ms", "p99"],
            rows=clicks,
            note="one row a call of record, flushed to disk.",
        ),
        report.Table(
            title="Bytes of user sequences",
            columns=["where", "users", "events a user", "bytes a user"],
            rows=sizes,
            note="the export's with who the users are.",
        ),
    ]
    return tables.write(
        "fresh", QUESTION, found, smoke=options.smoke, load_before=before, folder=options.output
    )


if __name__ == "__main__":
    main()
