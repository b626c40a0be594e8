"""The service under load: latencies by rate, then with swaps, events and killed workers.

    python -m benchmarks.serve                                         # 1,000 of 100,000 items, 2 workers
    python -m benchmarks.serve --rates 320 --seconds 300 --swap 10 --events 1000 --kill 30

The generator is another process than the workers, on the same machine: what it takes is not theirs. Arrivals
are a Poisson process; latencies count from when a request was due. Every answer is checked: k items of the
candidates, falling scores, a version that was published. At the end every event that was acknowledged must be
in the log. The model is as it was built, without training, which costs the same.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import machine, report, synthetic_log, tables
from benchmarks.harness import RESULTS
from benchmarks.open_loop import Connections, Load, generate
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.models import InteractRank, ModelSettings
from interactrank.serving import PreRanker
from interactrank.serving.artifact import publish
from interactrank.serving.export import export_model

QUESTION = "How many requests a second does the service answer, how fast, and what do swaps and kills change?"
COLUMNS = [
    *("requests/s due", "with", "p50 ms", "p90 ms", "p99 ms", "worst ms", "good", "other outcomes"),
    *("generator late p99 ms", "worker CPU ms a request"),
]
DISTINCT = 500  # requests that are sent in turn
K = 100
EVENTS_AT_A_TIME = 50


class Server:
    """A service that runs.

    Args:
        folder: with the export ``artifact``; gets the log ``server.log`` and the events ``events``.
        workers: processes.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.log, self.workers = folder / "server.log", workers
        command = [sys.executable, "-m", "interactrank.cli", "serve", str(folder / "artifact"), "--port", "0"]
        command += ["--workers", str(workers), "--events", str(folder / "events")]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "400"}
        with self.log.open("w") as file:
            self.process = subprocess.Popen(command, stderr=file, env=environment)
        self.host, self.port = "127.0.0.1", 0

    def wait(self) -> Connections:
        """Return connections once every worker answers."""
        deadline = time.monotonic() + 300
        while not (found := re.search(r"http://127.0.0.1:(\d+)", self.log.read_text())) and self._waits(
            deadline
        ):
            time.sleep(0.1)
        assert found is not None
        connections = Connections(self.host, int(found[1]))

        async def until() -> None:
            while self._waits(deadline):
                try:
                    if (await connections.exchange(connections.message("GET", "/readyz")))[0] == 200:
                        return
                except (OSError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.1)

        asyncio.run(until())
        time.sleep(5)  # the other workers follow within moments
        return Connections(self.host, int(found[1]))

    def pids(self) -> list[int]:
        """Of the workers that live."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        ended = {of["pid"] for of in lines if of["event"] == "worker_ended"}
        return [of["pid"] for of in lines if of["event"] == "worker_started" and of["pid"] not in ended]

    def cpu_seconds(self) -> float:
        """Of the workers that live."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _waits(self, deadline: float) -> bool:
        if self.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-2000:]}")
        return True


def artifact_of(options: argparse.Namespace, folder: Path) -> list[str]:
    """Write an export with two versions; returns their names."""
    dataset = synthetic_log.prepared(folder, options.log_events, items=options.items)
    torch.manual_seed(0)
    hidden = {"cross_features": {"hidden_dims": [16]}}
    settings = ModelSettings.model_validate({"dim": 64, **({} if options.smoke else hidden)})
    model = InteractRank(layout=dataset.layout, settings=settings).eval()
    weights = folder / "model.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, weights)
    facts = {
        "model": {"name": "interactrank", "settings": settings.model_dump(mode="json")},
        "head_weights": {"click": 1.0},
    }
    return [
        export_model(
            model, dataset, folder / "artifact", weights=weights, facts=facts, precision=precision
        ).name
        for precision in ("float16", "float32")
    ]


def messages_of(options: argparse.Namespace, connections: Connections, folder: Path) -> list[bytes]:
    """Requests of users and queries of the log, with candidates drawn at random."""
    import pyarrow.parquet as pq

    random = np.random.default_rng(1)
    log = pq.read_table(folder / "log" / "events.parquet", columns=["query", "user_id"])
    rows = random.integers(0, len(log), DISTINCT)
    found = []
    for query, user in zip(
        log["query"].take(rows).to_pylist(), log["user_id"].take(rows).to_pylist(), strict=True
    ):
        items = random.choice(options.items, min(options.candidates, options.items), replace=False)
        body = {"request": {"query": query, "user_id": user}, "candidates": [str(i) for i in items], "k": K}
        found.append(connections.message("POST", "/rank", json.dumps(body).encode()))
    return found


def checker(options: argparse.Namespace, versions: list[str]) -> Any:
    """What an answer is."""
    expected = min(K, options.candidates, options.items)

    def check(body: bytes) -> str:
        answer = json.loads(body)
        scores = answer["scores"]
        if answer["version"] not in versions:
            return "unknown version"
        if len(set(answer["ids"])) != expected or answer["unknown"]:
            return "wrong items"
        if any(a < b for a, b in itertools.pairwise(scores)):
            return "wrong order"
        return "degraded" if answer["degraded"] else "good"

    return check


class Disturbance:
    """Swaps, events and kills while requests come."""

    def __init__(
        self, options: argparse.Namespace, server: Server, connections: Connections, folder: Path
    ) -> None:
        self.options, self.server, self.connections, self.folder = options, server, connections, folder
        self.swaps, self.kills, self.sent, self.acknowledged, self.refused = 0, 0, 0, 0, 0

    async def swap(self, versions: list[str]) -> None:
        """Publish the versions in turn."""
        while True:
            await asyncio.sleep(self.options.swap)
            publish(self.folder / "artifact", versions[self.swaps % len(versions)])
            self.swaps += 1

    async def kill(self) -> None:
        """Kill a worker from time to time."""
        while True:
            await asyncio.sleep(self.options.kill)
            os.kill(self.server.pids()[0], signal.SIGKILL)
            self.kills += 1

    async def record(self) -> None:
        """Send events at a rate, each batch when it is due."""
        start = time.perf_counter()
        while True:
            due = start + (self.sent + EVENTS_AT_A_TIME) / self.options.events
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            now = time.time_ns() // 1_000_000
            row = {"query": "counted", "user_id": 1, "item_id": 7, "timestamp": now, "click": 1}
            rows = [row | {"request_id": f"new{self.sent + n}"} for n in range(EVENTS_AT_A_TIME)]
            self.sent += len(rows)
            message = self.connections.message("POST", "/events", json.dumps({"events": rows}).encode())
            try:
                status, _ = await self.connections.exchange(message)
            except (OSError, asyncio.IncompleteReadError):
                continue
            self.acknowledged += len(rows) * (status == 200)

    def lost(self) -> int:
        """Acknowledged events that the log does not have."""
        ranker = PreRanker.open(self.folder / "artifact", events=self.folder / "events")
        request = {"query": "counted", "user_id": None}
        why = ranker.rank(request, np.array([7]), explain=True).explanations
        assert why is not None
        return max(0, self.acknowledged - int(why[0].support["query_click"]))


@contextmanager
def serving(folder: Path, workers: int) -> Iterator[Server]:
    server = Server(folder, workers)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(60)


def row_of(rate: float, what: str, load: Load, cpu_seconds: float | None) -> list[Any]:
    """A row of the table."""
    p50, p90, p99 = np.percentile(load.ms, [50, 90, 99]).tolist() if load.ms else [None] * 3
    others = ", ".join(f"{n} {name}" for name, n in sorted(load.outcomes.items()) if n and name != "good")
    late = float(np.percentile(load.late_ms, 99))
    cpu = None if cpu_seconds is None else 1000 * cpu_seconds / max(1, sum(load.outcomes.values()))
    worst = max(load.ms, default=None)
    return [rate, what, p50, p90, p99, worst, load.outcomes["good"], others or "none", late, cpu]


async def disturbed(
    options: argparse.Namespace, disturbance: Disturbance, versions: list[str], load: Any
) -> Load:
    """Requests with all that goes on at the same time."""
    jobs = [
        *([disturbance.swap(versions)] if options.swap else []),
        *([disturbance.kill()] if options.kill else []),
        *([disturbance.record()] if options.events else []),
    ]
    tasks = [asyncio.create_task(job) for job in jobs]
    found: Load = await load
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return found


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[list[Any]], list[str]]:
    """A row for each rate, and what was counted under disturbances."""
    versions = artifact_of(options, folder)
    rows, notes = [], []
    with serving(folder, options.workers) as server:
        connections = server.wait()
        messages, check = messages_of(options, connections, folder), checker(options, versions)

        def load(rate: float, seconds: float, seed: int) -> Any:
            return generate(connections, messages, check, rate=rate, seconds=seconds, seed=seed)

        async def all_of_them() -> None:
            await load(options.rates[0], min(5.0, options.seconds), 0)  # warm
            for n, rate in enumerate(options.rates):
                before = server.cpu_seconds()
                found = await load(rate, options.seconds, n + 1)
                rows.append(row_of(rate, "nothing else", found, server.cpu_seconds() - before))
            if options.swap or options.kill or options.events:
                disturbance = Disturbance(options, server, connections, folder)
                rate = options.rates[-1]
                found = await disturbed(options, disturbance, versions, load(rate, options.seconds, 99))
                d = disturbance
                what = f"{d.swaps} swaps, {d.kills} kills, {d.acknowledged} events"
                rows.append(row_of(rate, what, found, None))
                notes.append(f"{d.acknowledged} of {d.sent} events acknowledged, {d.lost()} of these lost")

        asyncio.run(all_of_them())
    return rows, notes


def main(arguments: list[str] | None = None) -> Path:
    """Serve and measure; write the result; return the path of the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[100, 200, 300, 400], help="requests a second"
    )
    parser.add_argument("--seconds", type=float, default=30, help="of each rate")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--log-events", type=int, default=1_000_000, help="rows of the log behind the export")
    parser.add_argument("--swap", type=float, default=0, help="seconds between new versions; 0 for none")
    parser.add_argument("--kill", type=float, default=0, help="seconds between killed workers; 0 for none")
    parser.add_argument("--events", type=float, default=0, help="events a second")
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result files")
    options = parser.parse_args(arguments)
    silence_known_warnings()
    before = machine.load()
    if options.smoke:
        options.rates, options.seconds, options.items, options.candidates = [20.0], 3.0, 200, 20
        options.log_events, options.swap, options.kill, options.events = 5_000, 0.8, 1.5, 200.0
    with tempfile.TemporaryDirectory() as folder:
        rows, notes = measure(options, Path(folder))
    note = (
        f"{options.candidates:,} candidates of {options.items:,} items, {options.workers} workers, the "
        "generator on the same cores. Latencies count from when a request was due. "
        "'broken': the connection ended before the answer, as of a worker that was killed. "
        + "; ".join(notes)
    )
    table = report.Table(title="latency by rate", columns=COLUMNS, rows=rows, note=note.strip())
    return tables.write(
        "serve", QUESTION, [table], smoke=options.smoke, load_before=before, folder=options.output
    )


if __name__ == "__main__":
    main()
