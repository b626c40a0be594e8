"""Does a second rank pay? One rank with one thread against two, training on one machine.

    python -m benchmarks.ranks --threads 1

Two models: one that mostly looks up ids, one that mostly multiplies matrices. Each rank has a process and a
core of its own; sets of ranks take turns, and those that wait use no core. ``two_ranks`` keep the batch of
each rank, as the loader does, so that a step trains on twice as much; ``two_ranks_half`` share one batch.
``two_alone`` is the limit of the machine: two jobs of one rank at the same time, which exchange nothing and
only share caches, memory and what else the two cores share. Wall time decides.

Shapes: B rows of the batch on a rank, T tables, D embedding dim.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from benchmarks import report
from benchmarks.harness import Contestant, Group, Samples, Script, main
from benchmarks.workers import STEPS, Workers, take_turns
from interactrank.modules.embeddings import TableConfig, embedding_bag_collection
from interactrank.training.distributed import current_world
from interactrank.training.optimizers import build_optimizer
from interactrank.training.pipeline import Forward, make_pipeline
from interactrank.training.planning.plan import make_plan
from interactrank.training.settings import TrainingSettings
from interactrank.training.sharding import shard_model

TARGET = 1.6
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
class Batch:
    """Ids and labels [B, 1]."""

    ids: KeyedJaggedTensor
    labels: Tensor

    @property
    def num_requests(self) -> int:
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


def prepare(names: dict[str, int], shape: Shape) -> None:
    """On every rank: the model, and a step for each name with the rows of its batch on a rank."""
    STEPS.clear()  # models of an earlier call
    world, settings = current_world(), TrainingSettings()
    model = Model(shape)
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    optimizer = build_optimizer(dmp, settings, 1)
    pipeline: Any = make_pipeline(dmp, Forward(dmp, dmp.device, bf16=False), optimizer, settings)
    dmp.train()
    for name, size in names.items():
        endless = itertools.cycle(batches(shape, size, world.rank))

        def step(endless: Iterator[Batch] = endless) -> None:
            for _ in range(shape.steps):
                fresh = next(endless)
                ids = fresh.ids  # a new object: this one would keep what it once worked out
                again = KeyedJaggedTensor(keys=ids.keys(), values=ids.values(), lengths=ids.lengths())
                pipeline.progress(iter([Batch(again, fresh.labels)]))

        STEPS[name] = step


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each model."""
    with Workers(1) as one, Workers(2) as two, Workers(2, apart=True) as alone:
        for name, shape in (TINY if options.smoke else SHAPES).items():
            for batch in (shape.batch // 8, shape.batch):
                of = replace(shape, batch=batch)
                yield group(name, of, one, two, alone, target=batch == shape.batch)


def group(
    name: str, shape: Shape, one: Workers, two: Workers, alone: Workers, *, target: bool = True
) -> Group:
    """A model on one rank and on two."""

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        one.call(prepare, {"one_rank": shape.batch}, shape)
        two.call(prepare, {"two_ranks": shape.batch, "two_ranks_half": shape.batch // 2}, shape)
        alone.call(prepare, {"two_alone": shape.batch}, shape)
        turns = {"one_rank": one, "two_alone": alone, "two_ranks": two, "two_ranks_half": two}
        return take_turns(turns, rounds, warmup)

    work = shape.batch * shape.steps
    contestants = [
        Contestant("one_rank", work=work),
        Contestant("two_alone", work=2 * work),
        Contestant("two_ranks", work=2 * work, target=TARGET if target else None),
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
        one, alone, two = (speed[group, name] for name in ("one_rank", "two_alone", "two_ranks"))
        rows.append([group, alone / one, two / one, two / alone])
    return [
        report.Table(
            title="Against what the machine can do",
            columns=["group", "two jobs alone, times one", "two ranks, times one", "of the limit"],
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
