"""Does the planner's estimate order plans as the stopwatch does? And how many messages has a step of each?

    python -m benchmarks.plan_order --threads 1

Plans of one model are drawn at random, a sharding type for each table, and trained in turns on ranks of this
machine. Spearman's rank correlation compares the planner's estimate with the measured steps. The planner's
own choice is the first of the plans. Messages are counted as a training counts them.

Shapes: B rows of the batch on a rank, D embedding dim.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from benchmarks import machine, report, tables
from benchmarks.ranks import Batch
from benchmarks.workers import Workers
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.distributed.world import current_world
from interactrank.modules.embeddings import TableConfig, embedding_bag_collection
from interactrank.sharding.byte_sizes import show_bytes
from interactrank.sharding.planner.cluster import cluster_of
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.plan import make_plan, place
from interactrank.sharding.planner.report import plan_report
from interactrank.sharding.shard import shard_model
from interactrank.training.messages import counted_messages
from interactrank.training.optimizers import build_optimizer
from interactrank.training.pipeline import make_pipeline
from interactrank.training.settings import TrainingSettings

QUESTION = "Does the planner's estimate order plans as the stopwatch does?"
ROWS = {"country": 10, "word": 1_000, "shop": 20_000, "item": 100_000}
IDS = {"country": 1, "word": 8, "shop": 2, "item": 30}  # in a row of the batch
DIM, BATCH, PLANS = 32, 512, 20
TYPES = ("table_wise", "row_wise", "column_wise", "data_parallel")
Plan = dict[str, str]


class Model(nn.Module):
    """Pooled ids of all tables through a layer to a logit."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        configs = [TableConfig(name=n, rows=rows, dim=DIM, features=[n]) for n, rows in ROWS.items()]
        self.bags = embedding_bag_collection(configs, device=torch.device("meta"))
        self.layer = nn.Linear(len(ROWS) * DIM, 1)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch."""
        pooled = self.bags(batch.ids)
        logits = self.layer(torch.cat([pooled[name] for name in ROWS], 1))
        return F.binary_cross_entropy_with_logits(logits, batch.labels), {}


def batches(size: int, rank: int) -> Iterator[Batch]:
    """Ids drawn evenly, again and again."""
    draw = torch.Generator().manual_seed(rank)
    made = []
    for _ in range(4):
        values = [torch.randint(0, ROWS[n], (size * IDS[n],), generator=draw) for n in ROWS]
        lengths = torch.cat([torch.full((size,), IDS[n]) for n in ROWS])
        made.append((torch.cat(values), lengths, torch.randint(0, 2, (size, 1), generator=draw).float()))
    for values_, lengths, labels in itertools.cycle(made):
        yield Batch(KeyedJaggedTensor(list(ROWS), values_, lengths=lengths), labels)


def drawn_plans(count: int, seed: int = 0) -> list[Plan]:
    """The planner's own choice (an empty one), then plans without repetition."""
    draw = random.Random(seed)
    every = [dict(zip(ROWS, types, strict=True)) for types in itertools.product(TYPES, repeat=len(ROWS))]
    return [{}, *draw.sample(every, count - 1)]


def settings_of(plan: Plan) -> TrainingSettings:
    """Settings that ask for it."""
    asked = {table: {"types": [kind]} for table, kind in plan.items()}
    return TrainingSettings.model_validate({"pipeline": "plain", "sharding": asked})


def measured(plans: list[Plan], size: int, rounds: int, steps: int) -> list[dict[str, Any]]:
    """On every rank: for each plan its types, the estimate, the fastest of rounds of steps, its messages."""
    silence_known_warnings()
    world = current_world()
    cluster = cluster_of(world)
    loads = {name: TableLoad((size,), (float(IDS[name]),)) for name in ROWS}
    found: list[dict[str, Any]] = []
    runs = []
    for plan in plans:
        settings = settings_of(plan)
        placed = place(Model(), settings, cluster, loads=loads)
        of = plan_report(Model(), placed, cluster, settings.table_optimizer)
        types = {option.name: option.sharding_type for option in placed}
        model = Model()
        dmp = shard_model(model, make_plan(model, settings, world, loads=loads), settings, world)
        dmp.train()
        pipeline = make_pipeline(dmp, build_optimizer(dmp, settings, 1), settings)
        fresh = batches(size, world.rank)
        for _ in range(4):
            pipeline.progress(fresh)
        with counted_messages() as messages:
            pipeline.progress(fresh)
        runs.append((pipeline, fresh))
        found.append(
            {"types": types, "estimate_ms": of.step_ms, "messages": messages, "ms": [], "cpu_ms": []}
        )
    for _ in range(rounds):
        for (pipeline, fresh), into in zip(runs, found, strict=True):
            if world.size > 1:
                dist.barrier()
            start, cpu = time.perf_counter(), time.process_time()
            for _ in range(steps):
                pipeline.progress(fresh)
            into["ms"].append(1e3 * (time.perf_counter() - start) / steps)
            into["cpu_ms"].append(1e3 * (time.process_time() - cpu) / steps)
    return found


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation, without ties."""
    ranks = [[sorted(values).index(v) for v in values] for values in (a, b)]
    return statistics.correlation(*([float(r) for r in of] for of in ranks))


def messages_of(messages: dict[str, float]) -> tuple[int, float, str]:
    """All of a step, their bytes, and how many of each kind."""
    kinds = {k.removeprefix("messages/"): int(n) for k, n in messages.items() if not k.endswith("_bytes")}
    size = sum(n for k, n in messages.items() if k.endswith("_bytes"))
    return sum(kinds.values()), size, ", ".join(f"{n} {kind}" for kind, n in kinds.items())


def page(ranks: int, found: list[list[dict[str, Any]]]) -> report.Table:
    """The plans by the stopwatch, and the correlations; ``found`` has those of every rank."""
    plans = found[0]
    for n, of in enumerate(plans):
        of["wall"] = min(of["ms"])
        of["cpu"] = max(statistics.median(rank[n]["cpu_ms"]) for rank in found)
    estimates = [of["estimate_ms"] for of in plans]
    wall, cpu = (spearman(estimates, [of[key] for of in plans]) for key in ("wall", "cpu"))
    rows: list[list[Any]] = []
    for n, of in sorted(enumerate(plans), key=lambda pair: pair[1]["wall"]):
        count, size, kinds = messages_of(of["messages"])
        name = " ".join(of["types"].values()) + (" (the planner's)" if n == 0 else "")
        rows.append([name, of["estimate_ms"], of["wall"], of["cpu"], count, show_bytes(size), kinds])
    columns = ["plan: " + ", ".join(ROWS), "estimated ms", "measured ms", "CPU ms of the busiest rank"]
    note = (
        f"Spearman's rank correlation of the estimate with the fastest of the rounds {wall:.2f}, with the "
        f"busiest rank's processor time {cpu:.2f}. The estimate is of the tables alone; measured steps have "
        "a layer, a loss and the optimizers, too. Bytes are those that rank 0 hands over."
    )
    title = f"{ranks} ranks, {len(plans)} plans, B = {BATCH}"
    return report.Table(title=title, columns=[*columns, "messages", "bytes", "kinds"], rows=rows, note=note)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it works")
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument(
        "--seed", type=int, default=1, help="of the plans; constants were fitted to those of 0"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    silence_known_warnings()
    load = machine.load()
    size, steps = (32, 1) if options.smoke else (BATCH, 3)
    pages = []
    for ranks in options.ranks:
        with Workers(ranks) as workers:
            plans = drawn_plans(4 if options.smoke else PLANS, options.seed)
            found = workers.call(measured, plans, size, 2 if options.smoke else options.rounds, steps)
        pages.append(page(ranks, found))
    tables.write(
        "plan_order",
        QUESTION,
        pages,
        smoke=options.smoke,
        load_before=load,
        folder=options.output,
        device=torch.device("cpu"),
    )


if __name__ == "__main__":
    main()
