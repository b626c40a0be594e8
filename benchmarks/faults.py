"""Faults, and what is left after them: a job on two ranks is hit, and must end as the undisturbed one.

    python -m benchmarks.faults                 # 20 kills and the other faults
    python -m benchmarks.faults --only kills --minutes 10

Each job is the command line under torchrun (see :mod:`benchmarks.fault_job`) on a small simulated log. Kills
are drawn at random from the moments of a run, with the random seed of ``--seed``; torchrun restarts the ranks
by itself. ``lost`` counts the steps that had to be done again, which lie past the last complete checkpoint;
``back`` is the time from the fault to the step after the last one done before it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine, report, tables
from interactrank.core.files import atomic_write_text
from interactrank.runs.config import load_config
from interactrank.runs.datasets import prepare_dataset, simulate_log

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "interactrank" / "configs" / "demo.yaml"
SIZES = [
    *("simulate.users=60", "simulate.items=200", "simulate.intents=10", "simulate.topics=4"),
    *("simulate.requests=500", "simulate.pool=30", "loader.batch_requests=16"),
    *("training.steps=24", "training.log_every=1", "training.checkpoint_every=4", "training.device=cpu"),
    *("training.validate_every=null", "training.timeout_s=120", "training.epochs=null"),
]
# Moments with the largest call at which they can be hit before the run ends, on every rank.
CALLS = {"load": 24, "forward": 24, "backward": 24, "update": 24, "save": 60, "rename": 6, "barrier": 60}
KILLS_A_JOB = 5
QUESTION = "What does a fault cost, and does the run end as if there had been none?"


@dataclass
class Outcome:
    """A job that was hit.

    Attributes:
        codes: exit code of torchrun at each start.
        lines: (seconds since the epoch, line) of everything that was printed.
        struck: when each fault struck; None if it never did.
    """

    codes: list[int] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    struck: list[float | None] = field(default_factory=list)

    def steps(self) -> list[tuple[float, int]]:
        """(time, step) of every step that was logged."""
        found = [(when, re.match(r"step (\d+)/", line)) for when, line in self.lines]
        return [(when, int(match[1])) for when, match in found if match]

    def restart(self, moment: float) -> float | None:
        """When the ranks had started again after a moment; each start prints its plan, ahead of all else."""
        return next((when for when, line in self.lines if when > moment and "Sharding plan" in line), None)

    def done_at(self, moment: float) -> int:
        """The last step before the restart; what struck one rank does not stop the other at once."""
        until = self.restart(moment) or moment
        return max((step for when, step in self.steps() if when <= until), default=0)

    def lost_at(self, moment: float) -> int:
        """Steps that were done twice."""
        return max(0, self.done_at(moment) - self.resumed_after(moment))

    def back_s(self, moment: float | None) -> float | None:
        """Seconds from a moment to the first step that had not been done before it; None without one."""
        again = None if moment is None else self.restart(moment)
        if moment is None or again is None:
            return None
        after = [when for when, step in self.steps() if when > again and step > self.done_at(moment)]
        return after[0] - moment if after else None

    def resumed_after(self, moment: float) -> int:
        """The step from which the start after a moment went on."""
        again = self.restart(moment)
        for when, line in self.lines if again is not None else ():
            if when <= again:
                continue
            if match := re.search(r"resuming from .*: step (\d+)", line):
                return int(match[1])
            if line.startswith("step "):
                break
        return 0

    def resumed(self) -> str:
        """The steps from which it went on."""
        found = [re.search(r"resuming from .*: step (\d+)", line) for _, line in self.lines]
        return ", ".join(match[1] for match in found if match) or "the start"

    def message(self) -> str:
        """What the ranks said, or torchrun where they could not."""
        said = [line for _, line in self.lines if line.startswith("interactrank train: ")]
        if said:
            return max(said, key=lambda line: "another rank" not in line)[19:].strip()[:160]
        killed = [line for _, line in self.lines if "Signal 9" in line or "exitcode: -9" in line]
        return "exitcode -9 (SIGKILL)" if killed else ""


class Jobs:
    """Starts jobs on one prepared log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = load_config(DEMO, SIZES)
        self.config = folder / "run.yaml"
        atomic_write_text(self.config, config.dump())
        prepare_dataset(config, simulate_log(config, folder / "log"), folder / "prepared")

    def run(
        self, name: str, *faults: dict[str, Any], restarts: int, overrides: tuple[str, ...] = ()
    ) -> Outcome:
        """One start of torchrun, joined to nothing before."""
        outcome = Outcome()
        self.start(name, outcome, *faults, restarts=restarts, overrides=overrides)
        return outcome

    def start(
        self,
        name: str,
        outcome: Outcome,
        *faults: dict[str, Any],
        restarts: int = 0,
        overrides: tuple[str, ...] = (),
        limit_bytes: int | None = None,
    ) -> None:
        """Adds a start to an outcome."""
        listed = self.folder / f"{name}.faults"
        listed.write_text("".join(json.dumps(fault) + "\n" for fault in faults))
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("--max-restarts", str(restarts), "--monitor-interval", "0.1"),
            *("-m", "benchmarks.fault_job", "train", str(self.config), *overrides),
            *("--data", str(self.folder / "prepared"), "--output", str(self.folder / name)),
        ]
        if limit_bytes is not None:
            command = ["bash", "-c", f'ulimit -f {limit_bytes // 1024}; exec "$0" "$@"', *command]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "INTERACTRANK_FAULTS": str(listed),
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5",
        }
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        watchdog = threading.Timer(600, process.kill)
        watchdog.start()
        assert process.stderr is not None
        for line in process.stderr:
            outcome.lines.append((time.time(), line.rstrip()))
        outcome.codes.append(process.wait())
        outcome.lines = [(when, line.replace(f"{self.folder}/", "")) for when, line in outcome.lines]
        watchdog.cancel()
        marks = [Path(f"{listed}.{number}") for number in range(len(faults))]
        outcome.struck += [float(mark.read_text()) if mark.exists() else None for mark in marks]

    def same(self, name: str) -> bool:
        """Whether a job ended with the weights and the losses of the undisturbed one."""
        return self._result(name) == self._result("whole")

    def _result(self, name: str) -> tuple[bytes, list[tuple[int, float]]]:
        rows = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        losses = [(row["step"], row["loss"]) for row in rows]
        return (self.folder / name / "model.safetensors").read_bytes(), losses


def kills(jobs: Jobs, count: int, seed: int, until: float) -> report.Table:
    """Kills at random moments, several in each job; torchrun brings it back after each."""
    draw = random.Random(seed)
    rows: list[list[Any]] = []
    moments = [list(CALLS)[number % len(CALLS)] for number in range(count)]
    draw.shuffle(moments)
    started = 0
    while moments and time.time() < until:
        now, moments = moments[:KILLS_A_JOB], moments[KILLS_A_JOB:]
        faults = [
            {
                "rank": 0 if moment == "rename" else draw.randrange(2),  # rank 0 alone renames
                "moment": moment,
                "call": draw.randint(1, max(1, CALLS[moment] // (start + 1))),  # a resumed run is shorter
                "kind": "kill",
                "start": start,
            }
            for start, moment in enumerate(now)
        ]
        name = f"kill{started}"
        started += 1
        outcome = jobs.run(name, *faults, restarts=len(faults))
        same = outcome.codes == [0] and jobs.same(name)
        if not same:
            print("\n".join(line for _, line in outcome.lines), flush=True)
        for number, fault in enumerate(faults):
            struck = outcome.struck[number]
            if struck is None:  # the run ended first
                moments.append(str(fault["moment"]))
                continue
            back = outcome.back_s(struck)
            rows.append(
                [
                    f"{fault['moment']} {fault['call']}, rank {fault['rank']}",
                    outcome.resumed_after(struck),
                    outcome.lost_at(struck),
                    "yes" if same else "NO",
                    "-" if back is None else round(back, 1),
                    outcome.codes[0],
                ]
            )
            print(rows[-1], flush=True)
        if not same and not any(outcome.struck):
            rows.append(["none, the run failed by itself", "-", "-", "NO", "-", outcome.codes[0]])
        shutil.rmtree(jobs.folder / name, ignore_errors=True)
    return report.Table(
        title=f"kill -9 at {len(rows)} random moments, two ranks, a checkpoint every 4 of 24 steps",
        columns=[
            "moment and its call",
            "went on from step",
            "steps done again",
            "same end",
            "back, s",
            "exit",
        ],
        rows=rows,
        note=(
            f"Up to {KILLS_A_JOB} kills in a job, one at each start of its ranks. Steps done again: those "
            "since the last checkpoint. Same end: weights and losses of every step equal those of the "
            "undisturbed run, bit for bit. The time to be back is mostly the start of two processes on a "
            "busy machine; none, where the last step was done. The exit code is torchrun's."
        ),
    )


def others(jobs: Jobs) -> report.Table:
    """Faults after which somebody has to do something, and those that torchrun recovers from."""
    rows: list[list[Any]] = []

    def add(what: str, name: str, outcome: Outcome, remedy: str) -> None:
        same = outcome.codes[-1] == 0 and jobs.same(name)
        if not same:
            print(f"exit codes {outcome.codes}", *(line for _, line in outcome.lines), sep="\n", flush=True)
        row = [what, outcome.codes[0], outcome.message(), remedy, outcome.resumed(), "yes" if same else "NO"]
        rows.append(row)
        print(row, flush=True)

    outcome = Outcome()
    newest = max(p.stat().st_size for p in (jobs.folder / "whole" / "checkpoints").rglob("*.distcp"))
    jobs.start("full", outcome, limit_bytes=newest // 2)
    jobs.start("full", outcome)
    add("no room for the first checkpoint (RLIMIT_FSIZE)", "full", outcome, "room made, started again")

    outcome = Outcome()
    jobs.start("full2", outcome, {"rank": 1, "moment": "save", "call": 40, "kind": "full"})
    jobs.start("full2", outcome)
    add("disk full while saving (ENOSPC on rank 1)", "full2", outcome, "started again")

    outcome = Outcome()
    jobs.start("damaged", outcome, {"rank": 0, "moment": "forward", "call": 22, "kind": "kill"})
    first = outcome.codes[0]
    checkpoint = sorted((jobs.folder / "damaged" / "checkpoints").glob("step_*"))[-1]
    data = checkpoint / "__1_0.distcp"
    data.write_bytes(data.read_bytes()[:-100])
    jobs.start("damaged", outcome)
    assert first != 0
    outcome.codes = outcome.codes[1:]
    shutil.rmtree(checkpoint)
    jobs.start("damaged", outcome)
    add("newest checkpoint truncated", "damaged", outcome, "that folder removed, started again")

    outcome = Outcome()
    jobs.start("nan", outcome, {"rank": 1, "moment": "load", "call": 11, "kind": "nan"})
    jobs.start("nan", outcome)
    add("a batch with NaN on rank 1", "nan", outcome, "batch repaired, started again")

    outcome = Outcome()
    fault = {"rank": 1, "moment": "forward", "call": 10, "kind": "stop"}
    jobs.start("hung", outcome, fault, restarts=1, overrides=("training.timeout_s=20",))
    add("rank 1 hangs (SIGSTOP), training.timeout_s=20", "hung", outcome, "none: torchrun restarts")

    outcome = Outcome()
    jobs.start("term", outcome, {"rank": 1, "moment": "forward", "call": 10, "kind": "term"})
    jobs.start("term", outcome)
    add("SIGTERM to rank 1 (ranks exit with 75)", "term", outcome, "started again")
    return report.Table(
        title="Other faults",
        columns=["fault", "torchrun's exit", "message", "remedy", "went on from step", "same end"],
        rows=rows,
        note="Nothing past the last complete checkpoint was lost in any of them.",
    )


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", choices=("kills", "others"), help="one of the two tables")
    parser.add_argument("--minutes", type=float, default=120, help="begin no further kills after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="one kill and no other fault")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    load, until = machine.load(), time.time() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as name:
        jobs = Jobs(Path(name))
        whole = jobs.run("whole", restarts=0)
        if whole.codes != [0]:
            sys.exit("\n".join(line for _, line in whole.lines))
        found = []
        if options.only != "others":
            found.append(kills(jobs, 1 if options.smoke else options.kills, options.seed, until))
        if options.only != "kills" and not options.smoke:
            found.append(others(jobs))
    name = f"faults_{options.only}" if options.only else "faults"
    tables.write(name, QUESTION, found, smoke=options.smoke, load_before=load, folder=options.output)
    if any("NO" in row for table in found for row in table["rows"]):
        sys.exit("a job did not end as the undisturbed one")


if __name__ == "__main__":
    main()
