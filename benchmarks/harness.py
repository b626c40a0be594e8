"""The one way in which every script here measures.

A script says what there is to compare, as groups of contestants; :func:`main` does the rest: options,
warm-up, measurements that take turns so that a noisy machine hits all contestants alike, ratios from pairs
of the same round, peak memory of each contestant in a process of its own, and the result files.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from benchmarks import growth, machine, picture, report

Step = Callable[[], object]
RESULTS = Path(__file__).parent / "results"


def elsewhere() -> Step:
    """Stands for ``make`` of contestants that their group measures."""
    raise RuntimeError("this contestant runs only where its group measures it")


@dataclass(frozen=True)
class Contestant:
    """One of the things compared.

    Args:
        name: unique in its group.
        make: builds it; what it returns does the work once per call.
        work: units of work that a call does.
        target: ratio to the group's baseline that it is to reach.
        memory_target: largest peak memory as a share of the baseline's.
    """

    name: str
    make: Callable[[], Step] = elsewhere
    work: float = 1.0
    target: float | None = None
    memory_target: float | None = None


@dataclass(frozen=True)
class Group:
    """Contestants that do the same job; the first one is the baseline of the ratios.

    Args:
        name: unique in the script.
        contestants: the baseline first.
        unit: of their work, such as ``candidates``.
        settings: what distinguishes this group from the others; numbers can be an axis of a plot.
        rounds: at most this number, if a contestant is very slow.
        measure: rounds, calls to warm up -> samples by contestant; for what runs in several processes. None:
            the contestants take turns in this one.
    """

    name: str
    contestants: list[Contestant]
    unit: str = "calls"
    settings: dict[str, Any] = field(default_factory=dict)
    rounds: int | None = None
    measure: Callable[[int, int], dict[str, Samples]] | None = None


@dataclass
class Samples:
    """Seconds of a call in every round, on the wall clock, of CPU time, and on the GPU.

    CPU time leaves out the moments in which other processes had the core; it is at least a step of its clock.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    gpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Script:
    """A benchmark.

    Args:
        name: of the result files.
        question: that it answers, in a sentence.
        groups: options -> groups; called again in the processes that measure memory.
        arguments: adds options of its own.
        tables: further tables from the finished result, such as where the time goes.
        memory: whether peak memory is measured.
        x_axis: the setting of the groups that cost is fitted to and drawn against; None for bars.
        series: another setting, with a line for each of its values.
    """

    name: str
    question: str
    groups: Callable[[argparse.Namespace], Iterable[Group]]
    arguments: Callable[[argparse.ArgumentParser], None] | None = None
    tables: Callable[[argparse.Namespace, dict[str, Any]], list[report.Table]] | None = None
    memory: bool = True
    x_axis: str | None = None
    series: str | None = None


def main(script: Script, arguments: list[str] | None = None) -> Path:
    """Measure, print, write; returns the path of the JSON file."""
    options = _parse(script, arguments)
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    # What the imports made stays: looking through it before every measurement would take a third of a second.
    gc.collect()
    gc.freeze()
    if options.memory_of:
        _measure_memory_here(script, options)
        return RESULTS
    result = measure(script, options)
    problems = report.problems(result)
    if problems:
        raise RuntimeError("the result does not validate: " + "; ".join(problems))
    path = report.write(result, options.output)
    if result["results"]:
        picture.plot(result, path.with_suffix(".png"), script.x_axis, script.series)
    print(report.markdown(result))
    print(f"written: {path}")
    return path


def measure(script: Script, options: argparse.Namespace) -> dict[str, Any]:
    """The result of a script as it is written to JSON."""
    device = torch.device(options.device)
    hardware = machine.describe(device)
    if options.hardware:
        hardware["name"] = options.hardware
    result: dict[str, Any] = {
        "benchmark": script.name,
        "format": report.FORMAT,
        "question": script.question,
        "smoke": options.smoke,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": _command(script, options.given),
        "hardware": hardware,
        "versions": machine.versions(),
        "load_before": machine.load(),
        "results": [],
    }
    for group in script.groups(options):
        if options.only and not re.search(options.only, group.name):
            continue
        result["results"] += _measure_group(script, group, options, device)
    result["load_after"] = machine.load()
    result["tables"] = script.tables(options, result) if script.tables else []
    if script.x_axis and (grown := growth.table(result, script.x_axis, script.series)):
        result["tables"].append(grown)
    return result


def alternate(
    steps: dict[str, Step], *, rounds: int, warmup: int, device: torch.device, min_seconds: float = 0.01
) -> dict[str, Samples]:
    """Measure several steps in turns: each once per round, in reversed order every second round.

    A step too short for the clock is repeated until a measurement takes ``min_seconds`` and ten steps of the
    clock of CPU time. Ranks meet at a barrier before each measurement, outside the timer.
    """
    min_seconds = max(min_seconds, 10 * machine.cpu_clock_step())
    samples = {name: Samples() for name in steps}
    repeats = {}
    for name, step in steps.items():
        start = time.perf_counter()
        for _ in range(max(1, warmup)):
            step()
        machine.synchronize(device)
        took = (time.perf_counter() - start) / max(1, warmup)
        repeats[name] = max(1, math.ceil(min_seconds / max(took, 1e-9)))
    names = list(steps)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            _sample(steps[name], repeats[name], device, samples[name])
    return samples


def percentiles(values: list[float]) -> tuple[float, float, float]:
    """10th, 50th and 90th percentile."""
    low, middle, high = np.percentile(values, [10, 50, 90])
    return float(low), float(middle), float(high)


def ratios(base: list[float], other: list[float], base_work: float, work: float) -> list[float]:
    """How many times faster than the base, per unit of work: one ratio for each round."""
    return [(b / base_work) / (o / work) for b, o in zip(base, other, strict=True)]


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, in MB as TorchRec counts them (2^20 bytes).

    Linux hands ``ru_maxrss`` down to a child; VmHWM begins again with the program that it runs.
    """
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    if found:
        return int(found.group(1)) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


@contextmanager
def measured(into: Samples, device: torch.device, repeats: int = 1) -> Iterator[None]:
    """Notes how long the block takes, which does the same thing ``repeats`` times.

    Ranks meet before it; nothing is collected as garbage in it.
    """
    gc.collect()
    gc.disable()
    try:
        if dist.is_available() and dist.is_initialized():
            dist.barrier()
        machine.synchronize(device)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
        wall, cpu = time.perf_counter(), time.process_time()
        for event in events[:1]:
            event.record()
        yield
        for event in events[1:]:
            event.record()
        machine.synchronize(device)
        into.wall.append((time.perf_counter() - wall) / repeats)
        into.cpu.append(max(time.process_time() - cpu, machine.cpu_clock_step()) / repeats)
        if events:
            into.gpu.append(events[0].elapsed_time(events[1]) / 1e3 / repeats)
    finally:
        gc.enable()


def _sample(step: Step, repeats: int, device: torch.device, into: Samples) -> None:
    with measured(into, device, repeats):
        for _ in range(repeats):
            step()


def _measure_group(
    script: Script, group: Group, options: argparse.Namespace, device: torch.device
) -> list[dict[str, Any]]:
    rounds, warmup = (2, 1) if options.smoke else (options.rounds, options.warmup)
    if group.rounds is not None:
        rounds, warmup = min(rounds, group.rounds), 1
    if group.measure is not None:
        samples = group.measure(rounds, warmup)
    else:
        steps = {c.name: c.make() for c in group.contestants}
        samples = alternate(steps, rounds=rounds, warmup=warmup, device=device)
        del steps
        gc.collect()
    base = group.contestants[0]
    rows = []
    for contestant in group.contestants:
        taken = samples[contestant.name]
        row: dict[str, Any] = {
            "short_name": f"{group.name}/{contestant.name}",
            "group": group.name,
            "contestant": contestant.name,
            **group.settings,
            "unit": group.unit,
            "work": contestant.work,
            "rounds": rounds,
            **_spread("cpu_runtime_p{}_ms", [s * 1e3 for s in taken.wall]),
            **_spread("qps_p{}", [contestant.work / s for s in sorted(taken.wall, reverse=True)]),
            "cpu_time_p50_ms": percentiles(taken.cpu)[1] * 1e3,
            "cpu_utilization_p50": percentiles(_shares(taken))[1],
        }
        if taken.gpu:
            row |= _spread("gpu_runtime_p{}_ms", [s * 1e3 for s in taken.gpu])
        if contestant is not base:
            times = ratios(samples[base.name].wall, taken.wall, base.work, contestant.work)
            row |= {"ratio_to": base.name, **_spread("ratio_p{}", times)}
            row |= _spread(
                "cpu_time_ratio_p{}", ratios(samples[base.name].cpu, taken.cpu, base.work, contestant.work)
            )
            if contestant.target is not None:
                row["target"] = contestant.target
        if script.memory and not options.no_memory and group.rounds is None:
            row |= _memory(script, group, contestant, options, device)
        rows.append(row)
        print(report.line(row), file=sys.stderr, flush=True)
    _memory_ratios(group, rows)
    return rows


def _command(script: Script, given: list[str]) -> str:
    """The command line without the options that name folders of this machine."""
    own = re.sub(r"--(output|hardware|folder)[ =]\S+", "", " ".join(given))
    return " ".join(f"python -m benchmarks.{script.name} {own}".split())


def _shares(taken: Samples) -> list[float]:
    return [cpu / wall for cpu, wall in zip(taken.cpu, taken.wall, strict=True)]


def _spread(key: str, values: list[float]) -> dict[str, float]:
    return {key.format(p): x for p, x in zip((10, 50, 90), percentiles(values), strict=True)}


def _memory(
    script: Script, group: Group, contestant: Contestant, options: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """Peak memory in a process that builds nothing but this contestant."""
    command = [sys.executable, "-m", f"benchmarks.{script.name}", *options.given]
    command += ["--memory-of", f"{group.name}/{contestant.name}"]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure_memory_here(script: Script, options: argparse.Namespace) -> None:
    device = torch.device(options.device)
    for group in script.groups(options):
        for contestant in group.contestants:
            if f"{group.name}/{contestant.name}" != options.memory_of:
                continue
            before = peak_rss_mb()
            step = contestant.make()
            for _ in range(3):
                step()
            machine.synchronize(device)
            found = {"cpu_peak_rss_p50_mb": peak_rss_mb(), "cpu_rss_before_mb": before}
            if device.type == "cuda":
                found["gpu_peak_alloc_p50_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
                found["gpu_peak_reserved_p50_mb"] = torch.cuda.max_memory_reserved(device) / 2**20
            print(json.dumps(found))
            return
    raise SystemExit(f"no contestant {options.memory_of!r}")


def _memory_ratios(group: Group, rows: list[dict[str, Any]]) -> None:
    for contestant, row in zip(group.contestants[1:], rows[1:], strict=True):
        for key in ("gpu_peak_alloc_p50_mb", "cpu_peak_rss_p50_mb"):
            if key in row:
                row["memory_ratio"] = row[key] / rows[0][key]
                if contestant.memory_target is not None:
                    row["memory_target"] = contestant.memory_target
                break


def _parse(script: Script, arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{script.name}", description=script.question)
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument("--rounds", type=int, default=11, help="measurements of each contestant")
    parser.add_argument("--warmup", type=int, default=3, help="calls before the first measurement")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", help="groups to run, a regular expression")
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument("--hardware", help="name of the hardware in the files' names")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # the process that measures memory
    if script.arguments:
        script.arguments(parser)
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)
    options.given = given
    return options
