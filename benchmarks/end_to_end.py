"""Samples a second of training as a whole: read, collate, forward, backward, update, by number of ranks.

    python -m benchmarks.end_to_end --ranks 1 2            # ranks on this machine
    torchrun --nproc-per-node 8 -m benchmarks.end_to_end   # the ranks of a job, on GPUs too
    torchx run -s local_cwd interactrank/components.py:bench -m benchmarks.end_to_end -j 1x2

``interactrank`` is ``train`` on a simulated log with the loader and its thread, as a job trains; it stops
between two measurements, while up to ``loader.prefetch`` batches lie ready. The peer ``plain_two_tower`` is
plain PyTorch on the same candidates as flat rows (:mod:`benchmarks.flat_two_tower`), without sequence and
history. The models: the demo's, with its 32 requests a batch and with 256, and one that mostly looks ids up.
A sample is a candidate. Each rank keeps a batch of its own, so that n ranks train on n times as much in a
step, and has one thread unless --threads says otherwise. Wall time decides.

Of a job all ranks measure together, and rank 0 writes the result; several machines need ``--folder``, which
all of them see.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import report
from benchmarks.flat_two_tower import flat_two_tower
from benchmarks.harness import Contestant, Group, Samples, Script, main, peak_rss_mb
from benchmarks.train_in_blocks import TrainInBlocks
from benchmarks.workers import STEPS, JobRanks, Ranks, Workers, take_turns
from interactrank.core.errors import UserError
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.data import prepare_log
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.simulator import simulate
from interactrank.distributed.world import current_world, process_group
from interactrank.runs.config import RunConfig, load_config

DEMO = Path(__file__).parents[1] / "interactrank" / "configs" / "demo.yaml"
OURS, PEER = "interactrank", "plain_two_tower"
TARGET = 0.8  # of as many times one rank as there are ranks
MODELS = {
    "demo": ["simulate.requests=6000"],
    "demo_large_batches": ["simulate.requests=6000", "loader.batch_requests=256"],
    "table_heavy": [
        "simulate.requests=6000",
        "simulate.items=20000",
        "simulate.intents=1000",
        *(
            f"schema.tables.{name}={{dim: 128, ids: hash, rows: 200000}}"
            for name in ("query", "word", "item")
        ),
        "schema.sequence.length=100",
        *(f"model.{tower}.{key}" for tower in ("request_tower", "item_tower") for key in ("block_dim=8",)),
    ],
}
TINY = ["simulate.requests=200", "loader.batch_requests=8"]
# Nothing but training in a measurement, at one speed.
STEADY = [
    "training.steps=1000000",
    "training.epochs=null",
    "training.validate_every=null",
    "training.schedule.decay=constant",
    "training.schedule.min_lr_factor=null",
    "training.tensorboard=false",
]


class FolderError(UserError, ValueError):
    """Ranks of several machines have no folder in common."""


def config(model: str, block: int, *, smoke: bool) -> RunConfig:
    """The run of a model, with a line of its history for each measurement."""
    return load_config(DEMO, [*MODELS[model], *STEADY, f"training.log_every={block}", *TINY * smoke])


def make_log(of: RunConfig, folder: Path) -> None:
    """Simulates and prepares the log, unless the folder has one."""
    if (folder / "prepared" / "manifest.json").exists():
        return
    assert of.simulate is not None
    simulate(of.simulate, folder / "log", overwrite=True)
    prepare_log(folder / "log", folder / "prepared", of.search, of.prepare)


def build(step: str, kind: str, folder: str, model: str, block: int, smoke: bool) -> tuple[float, float]:
    """On every rank: what ``step`` does; peak memory in MB before it is built and after two blocks."""
    world, of = current_world(), config(model, block, smoke=smoke)
    torch.manual_seed(0)
    before = peak_mb()
    log = PreparedDataset(Path(folder) / "prepared")
    if kind == OURS:
        STEPS[step] = TrainInBlocks(log, of, Path(folder) / step, block)
    else:
        STEPS[step] = flat_two_tower(log, of, Path(folder) / f"{step}_{world.rank}.parquet", world, block)
    for _ in range(2):
        STEPS[step]()
    return before, peak_mb()


def peak_mb() -> float:
    """Of the GPU where this rank has one, else of the process."""
    device = current_world().device
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else peak_rss_mb()


def release() -> None:
    """On every rank: ends what was built."""
    for step in STEPS.values():
        if isinstance(step, TrainInBlocks):
            step.stop()
    STEPS.clear()


class Contest:
    """A model, trained by both contestants on all numbers of ranks, in turns.

    Args:
        model: of ``MODELS``.
        ranks: (contestant, number of ranks) -> who does it.
        folder: seen by all ranks.
        options: of the script.
    """

    def __init__(
        self, model: str, ranks: dict[tuple[str, int], Ranks], folder: Path, options: argparse.Namespace
    ) -> None:
        self.model, self.ranks, self.folder = model, ranks, folder
        self.block, self.smoke = 2 if options.smoke else options.block, options.smoke
        self.of = config(model, self.block, smoke=options.smoke)
        self.memory: dict[tuple[str, int], tuple[float, float]] = {}
        self.measure = cache(self._measure)

    def work(self, size: int) -> float:
        """Candidates of a block on this number of ranks, on average over a pass."""
        log = PreparedDataset(self.folder / "prepared")
        loader = SearchLoader(log, "train", self.of.loader, world_size=size)
        candidates = len(from_arrow(log.read("train", ["candidates"])["candidates"]).values)
        return candidates * self.block / loader.steps_per_epoch

    def _measure(self, rounds: int, warmup: int) -> dict[tuple[str, int], Samples]:
        names = {f"{kind}_{size}": (kind, size) for kind, size in self.ranks}
        for name, (kind, size) in names.items():
            arguments = (name, kind, str(self.folder), self.model, self.block, self.smoke)
            found = self.ranks[kind, size].call(build, *arguments)
            self.memory[kind, size] = tuple(np.max(found, axis=0).tolist())
        taken = take_turns({name: self.ranks[of] for name, of in names.items()}, rounds, warmup)
        for ranks in dict.fromkeys(self.ranks.values()):
            ranks.call(release)
        return {of: taken[name] for name, of in names.items()}

    def group(self, size: int) -> Group:
        """Both contestants on this number of ranks, and the library on one."""
        settings: dict[str, Any] = {
            "model": self.model,
            "world_size": size,
            "judged_by": "wall",
            "batch_requests": self.of.loader.batch_requests,
            "steps": self.block,
        }
        one = (OURS, 1) in self.ranks and size > 1

        def measure(rounds: int, warmup: int) -> dict[str, Samples]:
            taken = self.measure(rounds, warmup)
            settings["peak_mb"] = {kind: self.memory[kind, size] for kind in (OURS, PEER)}
            found = {kind: taken[kind, size] for kind in (OURS, PEER)}
            return {"one_rank": taken[OURS, 1], **found} if one else found

        contestants = [Contestant("one_rank", work=self.work(1))] if one else []
        target = TARGET * size if one else None
        contestants += [
            Contestant(OURS, work=self.work(size), target=target),
            Contestant(PEER, work=self.work(size)),
        ]
        return Group(f"{self.model}_ranks_{size}", contestants, "candidates", settings, measure=measure)


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each model and number of ranks."""
    silence_known_warnings()
    with ExitStack() as stack:
        base = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if in_job():
            job, size = JobRanks(), current_world().size
            ranks: dict[tuple[str, int], Ranks] = {(kind, size): job for kind in (OURS, PEER)}
        else:
            if options.device != "cpu":
                raise UserError(
                    "on GPUs the ranks are those of a job: torchrun --nproc-per-node N "
                    "-m benchmarks.end_to_end; or give --device cpu"
                )
            ranks = {}
            for size in sorted(set(options.ranks)):
                ranks[OURS, size] = ranks[PEER, size] = stack.enter_context(Workers(size))
                if not options.smoke:  # processes of its own, to tell the memory apart
                    ranks[PEER, size] = stack.enter_context(Workers(size))
            for workers in dict.fromkeys(ranks.values()):
                workers.call(torch.set_num_threads, options.threads)
        for model in MODELS:
            folder = base / (f"{model}_smoke" if options.smoke else model)
            contest = Contest(model, ranks, folder, options)
            make_log(contest.of, folder)
            for size in dict.fromkeys(size for _, size in ranks):
                yield contest.group(size)


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Scaling, and memory of a rank."""
    speed = {(r["group"], r["contestant"]): r["qps_p50"] for r in result["results"]}
    scaling, memory = [], []
    for row in result["results"]:
        if row["contestant"] != OURS:
            continue
        model, size, times = row["model"], row["world_size"], row.get("ratio_p50", "")
        peer, peer_alone = speed[row["group"], PEER], speed.get((f"{model}_ranks_1", PEER))
        cells = [model, size, row["qps_p50"], times, 100 * times / size if times else ""]
        scaling.append([*cells, peer, 100 * peer / peer_alone / size if peer_alone else "", cells[2] / peer])
        memory += [[model, size, kind, *row["peak_mb"][kind]] for kind in (OURS, PEER)]
    return [
        report.Table(
            title="Scaling",
            columns=[
                *("model", "ranks", "candidates/s", "times one rank", "efficiency %"),
                *("peer's candidates/s", "its efficiency %", "ours / peer"),
            ],
            rows=scaling,
            note="Medians on the wall clock. The peer reads no sequence and no history, and sums every "
            "gradient of its tables over the ranks.",
        ),
        report.Table(
            title="Memory of a rank",
            columns=["model", "ranks", "contestant", "MB before", "peak MB"],
            rows=memory,
            note="Of the rank with the most, before a contestant was built and after two blocks"
            + (": of the GPU." if options.device != "cpu" else ": resident memory of the process.")
            + (" Both contestants are in the same processes." if in_job() else ""),
        ),
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument(
        "--ranks", type=int, nargs="+", default=[1, 2], help="not of a job, which has its own"
    )
    parser.add_argument("--block", type=int, default=40, help="steps of a measurement")
    parser.add_argument(
        "--folder", type=Path, help="of the log; seen by all machines; a temporary one if out"
    )


SCRIPT = Script(
    name="end_to_end",
    question="How many candidates a second does training go through, and what do more ranks bring?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    memory=False,
    x_axis="world_size",
    series="model",
)


def in_job() -> bool:
    """Whether torchrun started this process."""
    return "WORLD_SIZE" in os.environ


@contextmanager
def as_rank(given: list[str]) -> Iterator[bool]:
    """Joins the job, if there is one; whether this process is the one that measures and writes.

    Raises:
        FolderError: the job has several machines and no common folder.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--folder")
    parser.add_argument("--threads", type=int)
    options, _ = parser.parse_known_args(given)
    if int(os.environ["LOCAL_WORLD_SIZE"]) < int(os.environ["WORLD_SIZE"]) and options.folder is None:
        raise FolderError("the ranks are on several machines: give --folder, a folder that all of them see")
    torch.set_num_threads(options.threads)
    with process_group(options.device) as world:
        if not world.is_main:
            JobRanks().serve()
        yield world.is_main
        if world.is_main:
            JobRanks().end()


def run(given: list[str]) -> None:
    """Measures on ranks of this machine, or as a rank of a job."""
    if not any(text.startswith("--threads") for text in given):
        given = [*given, "--threads", "1"]
    if in_job():
        with as_rank(given) as leads:
            if leads:
                main(SCRIPT, given)
    else:
        main(SCRIPT, given)


if __name__ == "__main__":
    run(sys.argv[1:])
