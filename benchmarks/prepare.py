"""Speed and peak memory of ``prepare`` on growing logs, and the join of candidates with their history alone.

    python -m benchmarks.prepare --threads 1 --rounds 3
    python -m benchmarks.prepare --events 20000000 --rounds 1 --only prepare
    python -m benchmarks.prepare --events 20000000 --cosine --rounds 1 --only prepare
    python -m benchmarks.prepare --events 2000000 --demo --rounds 1 --only prepare

``scan`` reads all columns of the log's Parquet files with DuckDB into Arrow and drops them; ``limit`` has
DuckDB sort the events, too, and count one cross feature (benchmarks/prepare_limit.py). With ``--demo`` the
log is simulated and has the schema of the demo. Peak memory is that of a process which prepares (scans) once.
The join (benchmarks/history_join.py) looks up counts as of each request; DuckDB's joins compute the same,
which is checked before anything is measured.

Shapes: E events, C candidates.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import torch

from benchmarks import history_join, report
from benchmarks.harness import Contestant, Group, Samples, Script, Step, main, measured
from benchmarks.prepare_limit import limit_step
from benchmarks.synthetic_log import CANDIDATES, COSINES, prepared, schema, write_log
from interactrank.core.stages import stages_to
from interactrank.data import prepare_log
from interactrank.data.settings import PrepareSettings
from interactrank.data.simulator.write import simulate
from interactrank.runs.config import RunConfig, load_config

SIZES = (20_000, 60_000, 200_000, 600_000)
CONTESTANTS = ("scan", "limit", "prepare")
DEMO = Path(__file__).parents[1] / "interactrank" / "configs" / "demo.yaml"
LARGE = 1_000_000  # events from which on nothing is warmed up
JOIN_EVENTS, JOIN_REQUESTS = 200_000, (40, 200, 1000, 5000)


def demo_config() -> RunConfig:
    """The packaged demo: what is simulated, and the schema of it."""
    return load_config(DEMO)


def write_demo_log(folder: Path, events: int) -> None:
    """Simulate a log of about this number of events."""
    simulation = demo_config().simulate
    assert simulation is not None
    mean = (simulation.candidates_min + simulation.candidates_max) / 2
    requests = max(round(events / mean), 1)
    simulate(simulation.model_copy(update={"requests": requests}), folder)


def scan_step(log: Path, threads: int) -> Step:
    """Reads the log."""
    db = duckdb.connect(config={"threads": threads})

    def step() -> int:
        rows = 0
        for name in ("events", "items"):
            found = db.sql(f"SELECT * FROM '{log / name}.parquet'").to_arrow_reader(100_000)
            rows += sum(batch.num_rows for batch in found)
        return rows

    return step


def prepare_step(log: Path, options: argparse.Namespace, found: dict[str, Any]) -> Step:
    """Prepares the log into a new folder, notes in ``found`` what came out, and removes it."""
    of = demo_config().search if options.demo else schema(cosine=options.cosine)
    settings = PrepareSettings(memory_limit=options.memory_limit, threads=options.threads)

    def step() -> None:
        output = Path(tempfile.mkdtemp(dir=log.parent)) / "prepared"
        with stages_to({}) as stages:
            manifest = prepare_log(log, output, of, settings)
        found["stages"] = stages
        found["requests"] = sum(manifest["requests"].values())
        found["output_mib"] = _mib(output)
        shutil.rmtree(output.parent)

    return step


def group(log: Path, events: int, options: argparse.Namespace) -> Group:
    """``prepare`` next to the scan of a log."""
    settings: dict[str, Any] = {
        "part": "prepare, by events",
        "rows": events,
        "log_mib": _mib(log),
        "memory_limit": options.memory_limit,
        "cosines": len(COSINES) if options.cosine else 0,
    }

    def make(name: str) -> Step:
        step = scan_step(log, options.threads)
        if name == "limit":
            step = limit_step(log, options.threads, options.memory_limit)
        if name == "prepare":
            step = prepare_step(log, options, settings)
        return _once(step) if options.memory_of else step

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        steps = {name: make(name) for name in CONTESTANTS}
        samples = {name: Samples() for name in steps}
        for number in range(0 if events >= LARGE else -1, rounds):
            for name in steps if number % 2 == 0 else reversed(steps):
                with measured(samples[name] if number >= 0 else Samples(), torch.device("cpu")):
                    steps[name]()
        return samples

    contestants = [Contestant(name, lambda n=name: make(n), events) for name in CONTESTANTS]
    return Group(f"prepare_{events}", contestants, "events", settings, measure=measure)


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each size of the log, then one for each number of candidates."""
    sizes = [1000, 2000, 4000] if options.smoke else options.events
    with _folder(options) as folder:
        for events in sizes:
            log = folder / f"events_{events}" / "log"
            if not options.memory_of:
                (write_demo_log if options.demo else write_log)(log, events - events % CANDIDATES)
            yield group(log, pq.read_metadata(log / "events.parquet").num_rows, options)
        if options.memory_of or options.cosine or options.demo:
            return
        join_events, requests = (5000, (10, 20, 40)) if options.smoke else (JOIN_EVENTS, JOIN_REQUESTS)
        log = prepared(folder / "join", join_events)
        for number in requests:
            yield history_join.group(log, folder / "join" / "log", number, options.threads)


@contextlib.contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    """Where the logs lie; the processes that measure memory are told by an option."""
    if options.logs:
        yield options.logs
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        options.given = [*options.given, "--logs", name]
        yield Path(name)


def _once(step: Step) -> Step:
    """Memory needs no second call."""
    pending = [step]
    return lambda: pending.pop()() if pending else None


def _mib(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Sizes on disk, and memory where it was measured."""
    found = [r for r in result["results"] if r["contestant"] == "prepare"]
    if not found:
        return []
    rows = [
        [
            r["rows"],
            r["requests"],
            r["log_mib"],
            r["output_mib"],
            r.get("cpu_peak_rss_p50_mb", "not measured"),
            r.get("cpu_rss_before_mb", "not measured"),
        ]
        for r in found
    ]
    columns = ["events", "requests", "log MiB", "output MiB", "peak memory MiB", "of it before it began"]
    return [
        report.Table(
            title="What is prepared, and how much memory it takes",
            columns=columns,
            rows=rows,
            note=f"DuckDB keeps to a memory_limit of {options.memory_limit} (prepare.memory_limit).",
        ),
        _stages(found),
    ]


def _stages(found: list[dict[str, Any]]) -> report.Table:
    """Where the time of the last round goes."""
    rows = [
        [r["rows"], name, wall, cpu, 1e9 * cpu / r["rows"]]
        for r in found
        for name, (wall, cpu) in r["stages"].items()
    ]
    return report.Table(
        title="Where prepare spends its time",
        columns=["events", "stage", "seconds", "CPU seconds", "CPU ns an event"],
        rows=rows,
        note="Of the last round; CPU seconds are of all threads. What is missing is the flush to disk.",
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--events", type=int, nargs="+", default=list(SIZES), help="of the logs prepared")
    parser.add_argument("--memory-limit", default="2GB", help="prepare.memory_limit, that of DuckDB")
    parser.add_argument(
        "--cosine", action="store_true", help="with the cosines of a candidate and the user's items; no join"
    )
    parser.add_argument("--demo", action="store_true", help="the demo's log and schema; no join")
    parser.add_argument("--folder", type=Path, help="where logs are made; default: the temporary folder")
    parser.add_argument("--logs", type=Path, help=argparse.SUPPRESS)  # for the process that measures memory


SCRIPT = Script(
    name="prepare",
    question="How many events a second does prepare take, in how much memory, and what does its join cost?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    x_axis="rows",
    series="part",
)

if __name__ == "__main__":
    main(SCRIPT)
