"""How long planning takes, by ID tables and GPUs, and how good the plans are; needs no GPU.

    python -m benchmarks.plan --threads 1

Every GPU brings 10 GB of tables of 128 float32, up to 10 TB on 1,024. The largest table holds a share that
falls with their number as in Zipf's law: 44 % of 5 tables, 15 % of 500. ``ours`` is what ``interactrank
plan`` and ``train`` call. ``torchrec`` is its EmbeddingShardingPlanner as it comes, with the same estimates
and all sharding types, where it ends in seconds (TORCHREC_UP_TO).
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import ShardingOption

from benchmarks import report
from benchmarks.harness import Contestant, Group, Script, Step, main, peak_rss_mb
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.modules.embeddings import TableConfig, embedding_bag_collection
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.plan import place
from interactrank.sharding.planner.report import PlanReport, plan_report
from interactrank.sharding.sharders import sharders
from interactrank.sharding.table_optimizer import apply_table_optimizer
from interactrank.sharding.tables import table_parameters
from interactrank.training.settings import TrainingSettings

GIB = 2**30
DIM, BATCH = 128, 512  # requests of a batch on each GPU
BYTES_OF_A_GPU = 10e12 / 1024
TABLES, RANKS = (5, 45, 150, 500), (8, 16, 64, 256, 1024)
SMOKE = ((8, 12), (8, 16))
TORCHREC_UP_TO = ((5, 256), (45, 16))  # tables and ranks; beyond, its planner takes minutes
ROUNDS = 3
SETTINGS = TrainingSettings()
PLANS: dict[str, tuple[Case, list[ShardingOption]]] = {}  # by group and contestant


class Case:
    """Tables without weights, what a step asks of them, and the GPUs.

    Args:
        tables: how many.
        ranks: GPUs, on machines of eight.
    """

    def __init__(self, tables: int, ranks: int) -> None:
        if ranks % 8:
            raise ValueError(f"{ranks} GPUs are not machines of 8")
        share = 1 / np.arange(1, tables + 1)
        rows = (BYTES_OF_A_GPU * ranks * share / share.sum() / (4 * DIM)).astype(int)
        names = [f"table{n}" for n in range(tables)]
        configs = [
            TableConfig(name=name, rows=int(size), dim=DIM, features=[name])
            for name, size in zip(names, rows, strict=True)
        ]
        self.tables, self.ranks = tables, ranks
        self.bytes = int(rows.sum()) * 4 * DIM
        self.model = nn.ModuleDict({"bags": embedding_bag_collection(configs, device=torch.device("meta"))})
        ids = np.random.default_rng(0).integers(1, 31, tables)
        self.loads = {name: TableLoad((BATCH,), (float(n),)) for name, n in zip(names, ids, strict=True)}
        self.cluster = Cluster(nodes=ranks // 8, ranks_per_node=8, hbm=80 * GIB, ddr=200 * GIB)

    def report(self, placement: list[ShardingOption]) -> PlanReport:
        """What a placement costs, by the same estimates for each planner."""
        return plan_report(self.model, placement, self.cluster, SETTINGS.table_optimizer)


def ours(case: Case) -> list[ShardingOption]:
    """The placement of ``interactrank plan``."""
    return place(case.model, SETTINGS, case.cluster, loads=case.loads)


def torchrec(case: Case) -> list[ShardingOption]:
    """The placement of TorchRec's planner with its own proposals, for the same memory and optimizer."""
    constraints = {
        name: ParameterConstraints(pooling_factors=list(load.ids), batch_sizes=list(load.rows))
        for name, load in case.loads.items()
    }
    planner = EmbeddingShardingPlanner(
        topology=case.cluster.topology(),
        batch_size=BATCH,
        constraints=constraints,
        # What is reserved is taken off the topology's memory already.
        storage_reservation=FixedPercentageStorageReservation(0.0),
        stats=[],
    )
    planner.plan(case.model, sharders(SETTINGS))
    return list(planner._best_plan or [])  # sizes and times are nowhere else


PLANNERS: dict[str, Callable[[Case], list[ShardingOption]]] = {"torchrec": torchrec, "ours": ours}


def make_case(planner: str, tables: int, ranks: int) -> Case:
    """A case of its own; TorchRec's planner is told of the optimizer as TorchRec's users do it."""
    case = Case(tables, ranks)
    if planner == "torchrec":
        apply_table_optimizer(table_parameters(case.model), SETTINGS.table_optimizer, "cuda", ())
    return case


def make(planner: str, tables: int, ranks: int) -> Step:
    """A call plans once."""
    case = make_case(planner, tables, ranks)
    name = f"{group_name(tables, ranks)}/{planner}"

    def step() -> None:
        PLANS[name] = (case, PLANNERS[planner](case))

    return step


def group_name(tables: int, ranks: int) -> str:
    """Of tables on ranks."""
    return f"tables_{tables}_ranks_{ranks}"


def planners(tables: int, ranks: int) -> list[str]:
    """Those that are tried on it; the first is the baseline."""
    soon = any(tables <= most and ranks <= up_to for most, up_to in TORCHREC_UP_TO)
    return list(PLANNERS) if soon else ["ours"]


def sizes(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Tables and ranks, one after the other."""
    for tables in SMOKE[0] if options.smoke else options.tables:
        for ranks in SMOKE[1] if options.smoke else options.ranks:
            yield tables, ranks


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each number of tables and ranks."""
    silence_known_warnings()
    for tables, ranks in sizes(options):
        yield Group(
            group_name(tables, ranks),
            [Contestant(name, partial(make, name, tables, ranks)) for name in planners(tables, ranks)],
            unit="plans",
            settings={"tables": tables, "ranks": ranks},
            rounds=ROUNDS,
        )


@cache
def peak_mb(planner: str, tables: int, ranks: int) -> tuple[float, float]:
    """Memory before a plan and at its peak, in a process that does nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(_peak_here, planner, tables, ranks).result()


def _peak_here(planner: str, tables: int, ranks: int) -> tuple[float, float]:
    silence_known_warnings()
    before = peak_rss_mb()
    PLANNERS[planner](make_case(planner, tables, ranks))
    return before, peak_rss_mb()


def further_tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """The plans' quality, and the memory of the largest plans of each planner."""
    quality = []
    for row in result["results"]:
        case, placement = PLANS[row["short_name"]]
        of = case.report(placement)
        layouts = Counter(cost.sharding for cost in of.tables)
        listed = ", ".join(f"{n} {layout}" for layout, n in layouts.most_common())
        seconds = row["cpu_runtime_p50_ms"] / 1000
        line = [case.tables, case.ranks, case.bytes / 1e12, row["contestant"], seconds]
        quality.append([*line, of.step_ms, of.balance, listed])
    tables = [
        report.Table(
            title="The plans",
            columns=["tables", "GPUs", "TB", "planner", "seconds p50", "step ms", "balance", "layouts"],
            rows=quality,
            note=(
                "The time of a step's tables is TorchRec's estimate at its default speeds, of the busiest "
                "GPU; balance is the mean over the GPUs as a share of that. Each GPU has 80 GiB and 200 GiB "
                f"of its host, a batch of {BATCH} requests, and 1 to 30 ids in a row."
            ),
        )
    ]
    if not options.no_memory:
        tables.append(memory_table(result))
    return tables


def memory_table(result: dict[str, Any]) -> report.Table:
    """For each planner and number of tables, the plan for the most ranks."""
    largest: dict[tuple[str, int], int] = {}
    for row in result["results"]:
        key = (row["contestant"], row["tables"])
        largest[key] = max(largest.get(key, 0), row["ranks"])
    rows = []
    for (planner, tables), ranks in largest.items():
        before, peak = peak_mb(planner, tables, ranks)
        rows.append([tables, ranks, planner, before, peak, peak - before])
    return report.Table(
        title="Memory of a plan",
        columns=["tables", "GPUs", "planner", "MB before it", "MB at its peak", "MB of it"],
        rows=rows,
        note="Resident memory of a process that has imported the libraries and makes one plan.",
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--tables", type=int, nargs="+", default=list(TABLES))
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS), help="GPUs, multiples of 8")


SCRIPT = Script(
    name="plan",
    question="How long does planning take, by tables and GPUs, and how good are the plans?",
    groups=groups,
    arguments=arguments,
    tables=further_tables,
    memory=False,
    x_axis="ranks",
    series="tables",
)


if __name__ == "__main__":
    main(SCRIPT)
