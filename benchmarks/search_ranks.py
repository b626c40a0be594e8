"""Does a second rank pay for the models of searches? One rank against two, on one machine.

    python -m benchmarks.search_ranks --threads 1

The session's steps on the demo's model at 64 and 256 requests a rank, and on one that mostly looks ids up,
with batches made beforehand. As in :mod:`benchmarks.ranks`, ranks have a process and a core of their own,
sets of ranks take turns, and ``two_alone``, two jobs that exchange nothing, is the limit of the machine.
``two_ranks`` is the plain pipeline, ``two_ranks_overlapped`` is ``sparse_dist``, the default on several
ranks.

Shapes: R requests of a batch on a rank.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import ranks, report
from benchmarks.end_to_end import MODELS, STEADY, TINY, make_log
from benchmarks.harness import Contestant, Group, Samples, Script, main
from benchmarks.overhead import DEMO
from benchmarks.plain_pytorch import Made
from benchmarks.workers import STEPS, Workers, take_turns
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import current_world
from interactrank.models import InteractRank
from interactrank.runs.config import RunConfig, load_config
from interactrank.training import setup

MADE = 8  # batches on each rank, used again and again
# model, R, what two ranks are to reach of one
CASES = [("demo", 64, 1.5), ("demo", 256, 1.6), ("table_heavy", 64, 1.6)]


def config(model: str, requests: int, pipeline: str, *, smoke: bool) -> RunConfig:
    """The run of a model with a pipeline."""
    of = [f"loader.batch_requests={requests}", f"training.pipeline={pipeline}"]
    return load_config(DEMO, [*MODELS[model], *STEADY, *TINY * smoke, "loader.prefetch=0", *of])


def prepare(names: dict[str, str], folder: str, model: str, requests: int, block: int, smoke: bool) -> None:
    """On every rank: a step for each name, with its pipeline."""
    silence_known_warnings()
    STEPS.clear()
    world, log = current_world(), PreparedDataset(Path(folder) / "prepared")
    for name, pipeline in names.items():
        of = config(model, requests, pipeline, smoke=smoke)
        loader = SearchLoader(log, "train", of.loader, rank=world.rank, world_size=world.size)
        batches = list(itertools.islice(loader.epoch(), MADE))
        torch.manual_seed(0)
        one = InteractRank(layout=log.layout, settings=of.model)
        # Two jobs alone must not find each other's run.
        output = tempfile.mkdtemp(dir=folder) if world.size == 1 else f"{folder}/{name}_{requests}"
        session = setup(one, Made(batches), of.training, output)
        segment, number = next(session.data.segments()), itertools.count(1)

        def steps(session: Any = session, segment: Any = segment, number: Any = number) -> None:
            for _ in range(block):
                session.step(next(number), segment)

        STEPS[name] = steps


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each model and size of the batch."""
    silence_known_warnings()
    with (
        tempfile.TemporaryDirectory() as base,
        Workers(1) as one,
        Workers(2) as two,
        Workers(2, apart=True) as alone,
    ):
        for model, requests, target in [("demo", 8, 1.5)] if options.smoke else CASES:
            folder = Path(base) / model
            make_log(config(model, requests, "plain", smoke=options.smoke), folder)
            yield group((one, two, alone), str(folder), model, requests, target, options)


def group(
    workers: tuple[Workers, Workers, Workers],
    folder: str,
    model: str,
    requests: int,
    target: float,
    options: argparse.Namespace,
) -> Group:
    """A model on one rank and on two."""
    one, two, alone = workers
    block = 2 if options.smoke else options.block

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        rest = (folder, model, requests, block, options.smoke)
        both = {"two_ranks": "plain", ranks.OVERLAPPED: "sparse_dist"}
        one.call(prepare, {"one_rank": "plain"}, *rest)
        alone.call(prepare, {"two_alone": "plain"}, *rest)
        two.call(prepare, both, *rest)
        return take_turns({"one_rank": one, "two_alone": alone} | dict.fromkeys(both, two), rounds, warmup)

    work = requests * block
    contestants = [
        Contestant("one_rank", work=work),
        Contestant("two_alone", work=2 * work),
        Contestant("two_ranks", work=2 * work),
        Contestant(ranks.OVERLAPPED, work=2 * work, target=target),
    ]
    settings: dict[str, Any] = {"model": model, "requests": requests, "steps": block, "judged_by": "wall"}
    return Group(f"{model}_{requests}", contestants, "requests", settings, measure=measure)


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """How near two ranks come to two jobs that exchange nothing."""
    return ranks.tables(options, result)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--block", type=int, default=15, help="steps of a measurement")


SCRIPT = Script(
    name="search_ranks",
    question="How much faster do two ranks train the models of searches than one, with one thread each?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    memory=False,
    x_axis="requests",
    series="model",
)

if __name__ == "__main__":
    main(SCRIPT)
