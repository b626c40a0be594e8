"""Runs under torchrun that lose a process, a node or their time: nothing is lost past the last checkpoint.

Each job is the command line on two gloo ranks, with faults from benchmarks/fault_job.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from interactrank.runs.datasets import prepare_dataset
from tests import trained as runs

pytestmark = pytest.mark.slow  # each test is a job of torchrun

ROOT = Path(__file__).parents[2]
WATCHDOG_S = 480.0  # no job here takes a tenth of it on an idle machine
STEPS = 12


class Job:
    """A folder with a config and a prepared log, and torchrun processes on it."""

    def __init__(self, folder: Path) -> None:
        config = runs.config(
            "training.epochs=3",
            "training.steps=null",
            "training.checkpoint_every=2",
            "loader.batch_requests=6",
            "loader.negatives=2",
            "loader.prefetch=2",
            "training.schedule.decay=linear",
            "training.timeout_s=120",
        )
        self.folder = folder
        self.config = folder / "run.yaml"
        self.config.write_text(config.dump())
        prepare_dataset(config, runs.raw_log(folder / "log"), folder / "prepared")
        self.running: list[subprocess.Popen[str]] = []

    def start(
        self,
        output: str,
        *faults: dict[str, Any],
        ranks: int = 2,
        restarts: int = 0,
        meeting: tuple[str, ...] = ("--standalone",),
        overrides: tuple[str, ...] = (),
        **environment: str,
    ) -> subprocess.Popen[str]:
        listed = self.folder / f"{output}.faults"
        listed.write_text("".join(json.dumps({"kind": "kill"} | fault) + "\n" for fault in faults))
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", *meeting),
                *(
                    "--nproc-per-node",
                    str(ranks),
                    "--max-restarts",
                    str(restarts),
                    "--monitor-interval",
                    "0.1",
                ),
                *("-m", "benchmarks.fault_job", "train", str(self.config), *overrides),
                *("--data", str(self.folder / "prepared"), "--output", str(self.folder / output)),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "INTERACTRANK_FAULTS": str(listed),
                "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "3",
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, output: str, *faults: dict[str, Any], **how: Any) -> tuple[int, str]:
        """Exit code of torchrun, and what was printed."""
        process = self.start(output, *faults, **how)
        _, shown = process.communicate(timeout=WATCHDOG_S)
        return process.returncode, shown

    def weights(self, output: str) -> dict[str, torch.Tensor]:
        return dict(load_file(self.folder / output / "model.safetensors"))

    def history(self, output: str) -> list[tuple[float, float]]:
        lines = (self.folder / output / "metrics.jsonl").read_text().splitlines()
        return [(row["step"], row["loss"]) for row in map(json.loads, lines)]

    def close(self) -> None:
        for process in self.running:
            for pid in [*children(process.pid), *([process.pid] if process.poll() is None else [])]:
                os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def children(parent: int) -> list[int]:
    """Processes that torchrun started, each in a session of its own."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [pid for pid, of in pairs if of == parent]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    made = Job(tmp_path_factory.mktemp("job"))
    code, shown = made.run("whole")
    assert code == 0, shown
    assert [step for step, _ in made.history("whole")] == list(range(1, STEPS + 1))
    yield made
    made.close()


def assert_as_undisturbed(job: Job, output: str) -> None:
    assert job.history(output) == job.history("whole")
    whole, found = job.weights("whole"), job.weights(output)
    assert whole.keys() == found.keys()
    for name, value in whole.items():
        assert torch.equal(value, found[name]), name


def test_killed_workers_bring_the_job_back_by_itself(job: Job) -> None:
    code, shown = job.run(
        "killed",
        {"rank": 0, "moment": "rename", "call": 2},  # the checkpoint of step 4 has just got its name
        {"rank": 1, "moment": "backward", "call": 6},  # counted anew: in step 10, the checkpoint is of step 8
        restarts=2,
    )
    assert code == 0, shown
    assert re.findall(r"resuming from .*step_0*(\d+): step", shown) == ["4", "8"]
    assert_as_undisturbed(job, "killed")


def test_a_kill_without_restarts_ends_the_job_and_starting_it_again_goes_on(job: Job) -> None:
    code, shown = job.run("again", {"rank": 0, "moment": "save", "call": 30}, overrides=())
    assert code == 1
    assert "SIGKILL" in shown or "Signal 9" in shown
    code, shown = job.run("again")
    assert code == 0, shown
    assert_as_undisturbed(job, "again")


def test_sigterm_to_one_rank_saves_the_same_step_on_all(job: Job) -> None:
    code, shown = job.run("asked", {"rank": 1, "moment": "forward", "call": 5, "kind": "term"})
    assert code == 1  # torchrun's own, whatever its workers' is
    # The signal comes within step 5; the ranks agree on it in step 6, an even one, or at the end of step 5.
    (step,) = set(re.findall(r"asked to stop \(SIGTERM\); step (\d+) of 12 is saved", shown))
    assert step in ("5", "6")
    assert "exitcode  : 75" in shown
    names = [p.name for p in sorted((job.folder / "asked" / "checkpoints").iterdir())]
    assert names[-1] == f"step_{int(step):010d}"
    code, shown = job.run("asked")
    assert code == 0, shown
    assert_as_undisturbed(job, "asked")


def test_sigterm_to_torchrun_reaches_the_ranks_and_gives_them_time(job: Job) -> None:
    process = job.start("preempted", overrides=("training.epochs=400",), TORCH_ELASTIC_SHUTDOWN_TIMEOUT="60")
    assert process.stderr is not None
    shown = ""
    for line in process.stderr:
        shown += line
        if line.startswith("step 5/"):
            process.send_signal(signal.SIGTERM)
            break
    shown += process.communicate(timeout=WATCHDOG_S)[1]
    assert process.returncode != 0
    (step,) = set(re.findall(r"asked to stop \(SIGTERM\); step (\d+) of 1600 is saved", shown))
    assert (job.folder / "preempted" / "checkpoints" / f"step_{int(step):010d}" / "manifest.json").exists()


def test_a_hung_rank_is_named_and_the_job_goes_on(job: Job) -> None:
    hang = {"rank": 1, "moment": "forward", "call": 4, "kind": "stop"}
    code, shown = job.run("hung", hang, restarts=1, overrides=("training.timeout_s=15",))
    assert code == 0, shown
    assert "rank 0: rank 1 did not respond within 15 s (hung or slow)" in shown
    assert_as_undisturbed(job, "hung")


def test_a_lost_node_leaves_fewer_ranks_that_go_on_resharded(job: Job) -> None:
    """Two agents of one rank each; one is killed with its rank, and the other goes on alone."""
    meeting = (
        *("--nnodes", "1:2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}"),
        *("--rdzv-id", "lost", "--local-addr", "localhost"),
        *("--rdzv-conf", "last_call_timeout=4,keep_alive_interval=1,keep_alive_max_attempt=2"),
    )
    how: dict[str, Any] = {"ranks": 1, "restarts": 3, "meeting": meeting}
    how["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    stays = job.start("node", **how, overrides=("training.epochs=6",))
    time.sleep(2)  # the first one hosts the meeting place
    lost = job.start("node", **how, overrides=("training.epochs=6",))
    manifest = None
    deadline = time.monotonic() + WATCHDOG_S
    while manifest is None and time.monotonic() < deadline:
        time.sleep(0.2)
        for path in sorted((job.folder / "node" / "checkpoints").glob("step_*/manifest.json")):
            manifest = path
    assert manifest is not None
    assert json.loads(manifest.read_text())["world_size"] == 2
    ranks = children(lost.pid)
    os.kill(lost.pid, signal.SIGKILL)
    for rank in ranks:
        os.kill(rank, signal.SIGKILL)
    _, shown = stays.communicate(timeout=WATCHDOG_S)
    assert stays.returncode == 0, shown
    assert re.search(r"2 ranks stopped in epoch 0; its remaining \d+ samples are shared among 1 ranks", shown)
    newest = sorted((job.folder / "node" / "checkpoints").glob("step_*/manifest.json"))[-1]
    assert json.loads(newest.read_text())["world_size"] == 1
