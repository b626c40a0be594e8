"""Look-ups of the sharded ID tables against the FBGEMM kernel alone, by sharding type.

    python -m benchmarks.embedding --threads 1

A step is forward, backward and update (row-wise Adagrad) of 8 tables, with ids drawn evenly. ``raw`` calls
FBGEMM's SplitTableBatchedEmbeddingBagsCodegen on ids and offsets that lie ready. The others make a
KeyedJaggedTensor and go through the sharded EmbeddingBagCollection and the trainer's optimizer. On two ranks
each has as many look-ups, and ``raw`` is a kernel on each that exchanges nothing. Peers:
``torch.nn.EmbeddingBag`` with sparse gradients, with SGD and with (element-wise) Adagrad.

Shapes: B rows of the batch on a rank, T tables, D embedding dim.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    SplitTableBatchedEmbeddingBagsCodegen,
)
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor, KeyedTensor

from benchmarks import report
from benchmarks.harness import Contestant, Group, Samples, Script, Step, main
from benchmarks.workers import STEPS, Workers, take_turns
from interactrank.distributed.world import current_world, process_group
from interactrank.modules.embeddings import TableConfig, embedding_bag_collection
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.settings import TrainingSettings

TABLES, DIM, RATE, EPS = 8, 64, 0.05, 1e-8
SIZES = [(512, 1), (512, 10), (512, 50), (4096, 1), (4096, 10)]  # B, ids in a bag
FEW_ROWS = 10_000  # of a table that a job would replicate
TYPES = ["table_wise", "row_wise", "column_wise", "table_row_wise", "table_column_wise", "grid_shard"]
PEERS = ["embedding_bag_sgd", "embedding_bag_adagrad"]
TARGET = 0.9  # of table_wise on one rank
FEATURES = [f"feature{n}" for n in range(TABLES)]


def raw_tables(rows: int) -> SplitTableBatchedEmbeddingBagsCodegen:
    """The kernel on its own: ids, offsets -> [B, T * D]."""
    kernel = SplitTableBatchedEmbeddingBagsCodegen(
        [(rows, DIM, EmbeddingLocation.HOST, ComputeDevice.CPU)] * TABLES,
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        learning_rate=RATE,
        eps=EPS,
        pooling_mode=PoolingMode.SUM,
    )
    kernel.init_embedding_weights_uniform(-0.05, 0.05)
    return kernel


class Tables(nn.Module):
    """A collection without weights yet."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.ebc = embedding_bag_collection(
            [TableConfig(name=f"table{n}", rows=rows, dim=DIM, features=[f]) for n, f in enumerate(FEATURES)],
            device=torch.device("meta"),
        )

    def forward(self, ids: KeyedJaggedTensor) -> KeyedTensor:
        """[B, T * D]."""
        return self.ebc(ids)


def sharded_tables(rows: int, kind: str) -> tuple[DistributedModelParallel, TrainingOptimizer]:
    """The library's tables, all of one sharding type."""
    settings = TrainingSettings.model_validate(
        {
            "table_optimizer": {"lr": RATE, "eps": EPS},
            "sharding": {f"table{n}": {"types": [kind]} for n in range(TABLES)},
            "unused_parameters": True,
        }
    )
    model, world = Tables(rows), current_world()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    return dmp, build_optimizer(dmp, settings, 1)


class Bags(nn.Module):
    """T plain bags with sparse gradients."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.bags = nn.ModuleList(
            nn.EmbeddingBag(rows, DIM, mode="sum", sparse=True, include_last_offset=True)
            for _ in range(TABLES)
        )

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Ids of all tables and T * B + 1 offsets -> [B, T * D]."""
        size = (len(offsets) - 1) // TABLES
        bounds = offsets[::size].tolist()
        parts = []
        for n, bag in enumerate(self.bags):
            first = offsets[n * size : (n + 1) * size + 1] - bounds[n]
            parts.append(bag(ids[bounds[n] : bounds[n + 1]], first))
        return torch.cat(parts, 1)


@cache
def built(kind: str, rows: int) -> Any:
    """The tables of a contestant, made once for all sizes of batches."""
    torch.manual_seed(0)
    if kind == "raw":
        return raw_tables(rows)
    return Bags(rows) if kind in PEERS else sharded_tables(rows, kind)


def make(kind: str, rows: int, size: int, pooling: int, rank: int = 0) -> Step:
    """The step of a contestant with B = ``size`` bags for each table, of ``pooling`` ids."""
    random = torch.Generator().manual_seed(rank)
    ids = torch.randint(0, rows, (TABLES * size * pooling,), generator=random)
    lengths = torch.full((TABLES * size,), pooling)
    offsets = torch.arange(TABLES * size + 1) * pooling
    gradient = torch.randn(size, TABLES * DIM, generator=random) / size
    if kind == "raw":
        kernel = built(kind, rows)
        return lambda: kernel(ids, offsets).backward(gradient)
    if kind in PEERS:
        bags = built(kind, rows)
        optimizer_of = torch.optim.SGD if kind == "embedding_bag_sgd" else torch.optim.Adagrad
        plain = optimizer_of(bags.parameters(), lr=RATE)

        def plain_step() -> None:
            plain.zero_grad(set_to_none=True)
            bags(ids, offsets).backward(gradient)
            plain.step()

        return plain_step
    dmp, optimizer = built(kind, rows)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        pooled = dmp(KeyedJaggedTensor(keys=FEATURES, values=ids, lengths=lengths))
        pooled.values().backward(gradient)
        optimizer.step()

    return step


def prepare(name: str, kind: str, rows: int, size: int, pooling: int, calls: int) -> None:
    """On every rank: a contestant's step, ``calls`` times."""
    step = make(kind, rows, size, pooling, current_world().rank)

    def repeated() -> None:
        for _ in range(calls):
            step()

    STEPS[name] = repeated


@torch.no_grad()
def same_start(kernel: SplitTableBatchedEmbeddingBagsCodegen, dmp: DistributedModelParallel) -> None:
    """Gives sharded tables of one rank the weights of the kernel."""
    weights = kernel.split_embedding_weights()
    for name, value in dmp.state_dict().items():
        value.local_shards()[0].tensor.copy_(weights[int(name.split(".")[-2].removeprefix("table"))])


def check() -> None:
    """The sharded tables compute what the kernel computes, before and after an update."""
    rows, size = 50, 6
    kernel, (dmp, optimizer) = raw_tables(rows), sharded_tables(rows, "table_wise")
    same_start(kernel, dmp)
    ids, lengths = torch.randint(0, rows, (TABLES * size * 2,)), torch.full((TABLES * size,), 2)
    for _ in range(2):
        optimizer.zero_grad()
        one = kernel(ids, torch.arange(TABLES * size + 1) * 2)
        two = dmp(KeyedJaggedTensor(keys=FEATURES, values=ids, lengths=lengths)).values()
        torch.testing.assert_close(one, two)
        for out in (one, two):
            out.backward(torch.ones_like(out))
        optimizer.step()


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each size; on one rank with the peers, with small tables, and on two ranks."""
    rows = 500 if options.smoke else options.rows
    sizes = [(16, 2)] if options.smoke else SIZES
    with process_group("cpu"):
        check()
        for size, pooling in sizes:
            yield here(["raw", *TYPES, *PEERS], rows, size, pooling)
        yield here(["raw", "table_wise", "data_parallel"], min(rows // 2, FEW_ROWS), *sizes[-1])
        built.cache_clear()
    with Workers(2) as workers:
        for size, pooling in sizes:
            yield on_two_ranks(workers, ["raw", *TYPES], rows, size, pooling)


def here(kinds: list[str], rows: int, size: int, pooling: int) -> Group:
    """Contestants on one rank, in this process."""
    lookups = TABLES * size * pooling
    contestants = [
        Contestant(
            kind,
            partial(make, kind, rows, size, pooling),
            lookups,
            target=TARGET if kind == "table_wise" else None,
        )
        for kind in kinds
    ]
    return Group(
        f"rank_1_rows_{rows}_batch_{size}_ids_{pooling}",
        contestants,
        "lookups",
        _settings(1, rows, size, pooling),
    )


def on_two_ranks(workers: Workers, kinds: list[str], rows: int, size: int, pooling: int) -> Group:
    """Contestants on two ranks."""
    lookups = TABLES * size * pooling
    calls = max(1, 400_000 // lookups) if rows > FEW_ROWS else 1  # a measurement needs some time

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        for kind in kinds:
            workers.call(prepare, kind, kind, rows, size, pooling, calls)
        found = take_turns(dict.fromkeys(kinds, workers), rounds, warmup)
        return {
            kind: Samples([s / calls for s in of.wall], [s / calls for s in of.cpu])
            for kind, of in found.items()
        }

    contestants = [Contestant(kind, work=2 * lookups) for kind in kinds]
    name = f"ranks_2_rows_{rows}_batch_{size}_ids_{pooling}"
    return Group(name, contestants, "lookups", _settings(2, rows, size, pooling), measure=measure)


def _settings(ranks: int, rows: int, size: int, pooling: int) -> dict[str, Any]:
    return {
        "ranks": ranks,
        "rows": rows,
        "batch": size,
        "ids": pooling,
        "lookups_each": TABLES * size * pooling,
        "tables": f"{ranks} rank{'s' * (ranks > 1)}, {rows:,} rows",
    }


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Cost of a look-up and of a step: ms = fixed + a * look-ups + b * bags, least squares."""
    rows: list[list[Any]] = []
    for key in dict.fromkeys((r["tables"], r["contestant"]) for r in result["results"]):
        found = [r for r in result["results"] if (r["tables"], r["contestant"]) == key]
        if len(found) < 4:
            continue
        x = np.array([[r["lookups_each"], TABLES * r["batch"], 1.0] for r in found], dtype=float)
        y = np.array([r["cpu_time_p50_ms"] for r in found])
        a, b, fixed = np.linalg.lstsq(x, y, rcond=None)[0]
        rows.append([*key, 1e6 * float(a), 1e6 * float(b), float(fixed)])
    if not rows:
        return []
    return [
        report.Table(
            title="What a look-up costs",
            columns=["tables", "contestant", "ns per look-up", "ns per bag", "ms of a step without any"],
            rows=rows,
            note="CPU time of a rank, fitted to the medians of all sizes.",
        )
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--rows", type=int, default=200_000, help="of each table")


SCRIPT = Script(
    name="embedding",
    question="How many look-ups a second of the FBGEMM kernel do sharded tables reach, by sharding type?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    memory=False,
    x_axis="lookups_each",
    series="tables",
)

if __name__ == "__main__":
    main(SCRIPT)
