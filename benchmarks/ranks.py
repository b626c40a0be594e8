"""Does a second rank pay? One rank with one thread against two, training on one machine.

    python -m benchmarks.ranks --threads 1

Two models: one that mostly looks up ids, one that mostly multiplies matrices. Each rank has a process and a
core of its own; sets of ranks take turns, and those that wait use no core. ``two_ranks`` keep the batch of
each rank, as the loader does, so that a step trains on twice as much; ``two_ranks_half`` share one batch.
``two_ranks_overlapped`` exchange the ids of the next batch meanwhile (training.pipeline: sparse_dist).
``two_alone`` is the limit of the machine: two jobs of one rank at the same time, which exchange nothing and
only share caches, memory and what else the two cores share. Wall time decides.

Shapes: B rows of the batch on a rank, T tables, D embedding dim.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from benchmarks import report
from benchmarks.harness import Contestant, Group, Samples, Script, main
from benchmarks.workers import STEPS, Workers, take_turns
from interactrank.distributed.world import current_world
from interactrank.modules.embeddings import TableConfig, embedding_bag_collection
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import build_optimizer
from interactrank.training.pipeline import make_pipeline
from interactrank.training.settings import TrainingSettings

TARGET = 1.6
Pipeline = Literal["plain", "sparse_dist"]
OVERLAPPED = "two_ranks_overlapped"
WORK = 8  # batches made beforehand


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of its batches.

    Attributes:
        tables: T.
        rows: of each table.
        dim: D.
        ids: of each table in a row of the batch.
        hidden: widths of the layers behind the tables.
        batch: B.
        steps: of a measurement.
    """

    tables: int
    rows: int
    dim: int
    ids: int
    hidden: tuple[int, ...]
    batch: int
    steps: int


SHAPES = {
    "embedding_heavy": Shape(8, 200_000, 64, 50, (64,), 1024, 5),
    "dense_heavy": Shape(4, 10_000, 32, 2, (1024, 1024, 512), 512, 2),
}
TINY = {
    "embedding_heavy": Shape(2, 200, 8, 5, (8,), 16, 2),
    "dense_heavy": Shape(1, 50, 8, 2, (64, 64), 16, 2),
}


@dataclass(frozen=True)
class Batch(Pipelineable):
    """Ids and labels [B, 1]; on CPU."""

    ids: KeyedJaggedTensor
    labels: Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """Itself: it is there already."""
        return self

    def pin_memory(self) -> Batch:
        """Itself: no GPU copies from it."""
        return self

    def record_stream(self, stream: torch.Stream) -> None:
        """Nothing to keep: a CPU has no streams."""

    @property
    def num_samples(self) -> int:
        """B."""
        return len(self.labels)


class Model(nn.Module):
    """Pooled ids of all tables, through layers, to a logit."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = [f"feature{n}" for n in range(shape.tables)]
        configs = [
            TableConfig(name=f"table{n}", rows=shape.rows, dim=shape.dim, features=[feature])
            for n, feature in enumerate(self.features)
        ]
        self.ebc = embedding_bag_collection(configs, device=torch.device("meta"))
        widths = [shape.tables * shape.dim, *shape.hidden]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch."""
        pooled = self.ebc(batch.ids)
        logits = self.layers(torch.cat([pooled[feature] for feature in self.features], 1))
        return F.binary_cross_entropy_with_logits(logits, batch.labels), {}


def batches(shape: Shape, size: int, rank: int) -> list[Batch]:
    """Of ids drawn evenly."""
    random = torch.Generator().manual_seed(rank)
    keys = [f"feature{n}" for n in range(shape.tables)]
    found = []
    for _ in range(WORK):
        values = torch.randint(0, shape.rows, (shape.tables * size * shape.ids,), generator=random)
        ids = KeyedJaggedTensor(
            keys=keys, values=values, lengths=torch.full((shape.tables * size,), shape.ids)
        )
        found.append(Batch(ids, torch.randint(0, 2, (size, 1), generator=random).float()))
    return found


def endless(shape: Shape, size: int, rank: int) -> Iterator[Batch]:
    """Batches again and again, each as a new object: ids would keep what was once worked out of them."""
    for made in itertools.cycle(batches(shape, size, rank)):
        ids = made.ids
        fresh = KeyedJaggedTensor(keys=ids.keys(), values=ids.values(), lengths=ids.lengths())
        yield Batch(fresh, made.labels)


def trainer(shape: Shape, pipeline: Pipeline) -> Any:
    """The sharded model in one of the trainer's pipelines."""
    world, settings = current_world(), TrainingSettings(pipeline=pipeline)
    model = Model(shape)
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    optimizer = build_optimizer(dmp, settings, 1)
    dmp.train()
    return make_pipeline(dmp, optimizer, settings)


def prepare(names: dict[str, tuple[int, Pipeline]], shape: Shape) -> None:
    """On every rank: a step for each name, with this number of rows on a rank, in a pipeline."""
    STEPS.clear()  # models of an earlier call
    kinds = dict.fromkeys(kind for _, kind in names.values())
    trainers = {kind: trainer(shape, kind) for kind in kinds}
    for name, (size, kind) in names.items():
        fresh = endless(shape, size, current_world().rank)

        def step(pipeline: Any = trainers[kind], fresh: Iterator[Batch] = fresh) -> None:
            for _ in range(shape.steps):
                pipeline.progress(fresh)

        STEPS[name] = step


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each model."""
    with Workers(1) as one, Workers(2) as two, Workers(2, apart=True) as alone:
        for name, shape in (TINY if options.smoke else SHAPES).items():
            for batch in (shape.batch // 8, shape.batch, 4 * shape.batch):
                of = replace(shape, batch=batch)
                yield group(name, of, one, two, alone, target=batch >= shape.batch)


def group(
    name: str, shape: Shape, one: Workers, two: Workers, alone: Workers, *, target: bool = True
) -> Group:
    """A model on one rank and on two."""

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        one.call(prepare, {"one_rank": (shape.batch, "plain")}, shape)
        alone.call(prepare, {"two_alone": (shape.batch, "plain")}, shape)
        both = {
            "two_ranks": (shape.batch, "plain"),
            OVERLAPPED: (shape.batch, "sparse_dist"),
            "two_ranks_half": (shape.batch // 2, "plain"),
        }
        two.call(prepare, both, shape)
        return take_turns({"one_rank": one, "two_alone": alone} | dict.fromkeys(both, two), rounds, warmup)

    work = shape.batch * shape.steps
    contestants = [
        Contestant("one_rank", work=work),
        Contestant("two_alone", work=2 * work),
        Contestant("two_ranks", work=2 * work, target=TARGET if target else None),
        Contestant(OVERLAPPED, work=2 * work, target=TARGET if target else None),
        Contestant("two_ranks_half", work=work),
    ]
    settings = {
        "model": name,
        "judged_by": "wall",
        "batch": shape.batch,
        "lookups": shape.batch * shape.tables * shape.ids,
        "hidden": list(shape.hidden),
    }
    return Group(f"{name}_{shape.batch}", contestants, "samples", settings, measure=measure)


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """How near two ranks come to two jobs that exchange nothing."""
    speed = {(row["group"], row["contestant"]): row["qps_p50"] for row in result["results"]}
    rows: list[list[Any]] = []
    for group in dict.fromkeys(row["group"] for row in result["results"]):
        one, alone, *two = (speed[group, n] for n in ("one_rank", "two_alone", "two_ranks", OVERLAPPED))
        rows.append([group, alone / one, *(x / one for x in two), *(x / alone for x in two)])
    return [
        report.Table(
            title="Against what the machine can do",
            columns=[
                *("group", "two jobs alone, times one", "two ranks, times one", "overlapped"),
                *("of the limit", "overlapped, of the limit"),
            ],
            rows=rows,
            note="Medians on the wall clock. Two jobs that exchange nothing are the limit; below 2 the two "
            "cores share what the work needs.",
        )
    ]


SCRIPT = Script(
    name="ranks",
    question="How much faster do two ranks train than one, with one thread each?",
    groups=groups,
    tables=tables,
    memory=False,
    x_axis="batch",
    series="model",
)

if __name__ == "__main__":
    main(SCRIPT)
