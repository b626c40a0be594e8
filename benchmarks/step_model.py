"""The parts of a training step: measured on ranks of this machine, and as the planner expects them elsewhere.

Shapes: B requests of a batch on a rank, N ranks.
"""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine
from benchmarks.overhead import DEMO
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import current_world
from interactrank.models import InteractRank
from interactrank.runs.config import RunConfig, load_config
from interactrank.runs.plan_inputs import ModelProfile
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.plan import make_plan, place
from interactrank.sharding.planner.report import PARTS, PlanReport, plan_report
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import build_optimizer
from interactrank.training.pipeline import Forward, PlainPipeline

TOWER = "{block_dim: 2048, hidden_dims: [512, 256]}"  # the reference's
SMALL = ("word", "category", "country", "gender")  # tables that every request or item looks up
STEPS = 3  # of a measurement; the median counts
EXCHANGE = ("fwd_comms", "bwd_comms")
COMPUTE = ("fwd_compute", "bwd_compute", "prefetch_compute")


@dataclass(frozen=True)
class Measured:
    """A training step on one rank.

    Attributes:
        requests: B.
        ms: of the step.
        tables_ms: of it, in the tables' kernels.
        gflop: of the matrix products of one such step, forward and backward.
        items: distinct ones of that step.
    """

    requests: int
    ms: float
    tables_ms: float
    gflop: float
    items: int

    @property
    def dense_ms(self) -> float:
        """All that is not the tables."""
        return self.ms - self.tables_ms

    def dense_share(self, rate: float) -> float:
        """What the dense part reaches of a matmul rate in GFLOP/s."""
        return 1e3 * self.gflop / self.dense_ms / rate


@dataclass(frozen=True)
class Step:
    """A projected step on each of N ranks, in milliseconds."""

    dense: float
    tables: float
    exchange: float
    all_reduce: float

    @property
    def fastest(self) -> float:
        """All exchange behind the dense work."""
        return self.tables + max(self.dense, self.exchange + self.all_reduce)

    def slowest(self, slower: float) -> float:
        """Nothing overlaps, and the tables are that many times slower than the planner has them."""
        return self.dense + self.tables * max(1.0, slower) + self.exchange + self.all_reduce


def config(smoke: bool, requests: int, *, replicated: bool = True) -> RunConfig:
    """The demo's with large towers, for steps in memory; its small tables as planned, or never replicated."""
    overrides = [
        *(f"training.sharding.{table}.kernels=[fused]" for table in SMALL if not replicated),
        f"simulate.requests={120 if smoke else 3000}",
        f"loader.batch_requests={requests}",
        "loader.prefetch=0",
        "training.validate_every=null",
        *([] if smoke else [f"model.request_tower={TOWER}", f"model.item_tower={TOWER}", "model.dim=64"]),
    ]
    return load_config(DEMO, overrides)


def one_rank(log: PreparedDataset, requests: int, device: torch.device, *, smoke: bool) -> Measured:
    """Measures a step of this rank; in a process group."""
    loop = Loop(log, requests, device, smoke=smoke)
    items = loop.made[1].num_items  # making the loop was the step on the first batch
    with FlopCounterMode(display=False) as flops:
        loop.steps(1)
    ms = loop.median_ms()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiler:
        loop.steps(STEPS)
    spent: dict[str, float] = {"tables": 0.0, "all": 0.0}
    for event in profiler.key_averages():
        took = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        spent["all"] += took
        spent["tables"] += took if "embedding" in event.key else 0.0
    share = spent["tables"] / max(spent["all"], 1e-9)
    return Measured(requests, ms, ms * share, flops.get_total_flops() / 1e9, items)


def on_ranks(folder: str, requests: int, smoke: bool) -> tuple[float, float]:
    """On every rank: milliseconds of a step, and bytes a second of an all-reduce of the dense gradients."""
    loop = Loop(PreparedDataset(folder), requests, torch.device("cpu"), smoke=smoke)
    ms = loop.median_ms()
    gradients = torch.zeros(loop.dense_numbers)
    took = []
    for _ in range(STEPS + 1):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(gradients)
        took.append(time.perf_counter() - start)
    n = dist.get_world_size()
    moved = 2 * (n - 1) / n * gradients.numel() * gradients.element_size()
    return ms, moved / statistics.median(took[1:])


class Loop:
    """The trainer's own step on this rank, on batches made beforehand.

    Args:
        log: whose training requests are used.
        requests: B.
        device: of the model.
        smoke: a tiny model.
    """

    def __init__(self, log: PreparedDataset, requests: int, device: torch.device, *, smoke: bool) -> None:
        of, world = config(smoke, requests), current_world()
        loader = SearchLoader(log, "train", of.loader, rank=world.rank, world_size=world.size)
        self.made = [batch.to(device) for batch in itertools.islice(loader.epoch(), 4)]
        self.batches = itertools.cycle(self.made)
        torch.manual_seed(0)
        model = InteractRank(layout=log.layout, settings=of.model)
        tables = {id(p) for p in model.tables.parameters()}
        self.dense_numbers = sum(p.numel() for p in model.parameters() if id(p) not in tables)
        dmp = shard_model(model, make_plan(model, of.training, world), of.training, world)
        dmp.train()
        self.device = device
        optimizer = build_optimizer(dmp, of.training, 1000)
        forward = Forward(dmp, device, bf16=False)
        self.pipeline = PlainPipeline(forward, optimizer, device)
        self.steps(1)

    def steps(self, count: int) -> None:
        """Trains on the next batches."""
        for _ in range(count):
            self.pipeline.progress(self.batches)
        machine.synchronize(self.device)

    def median_ms(self) -> float:
        """Of a step; ranks begin together."""
        took = []
        for _ in range(STEPS):
            dist.barrier()
            start = time.perf_counter()
            self.steps(1)
            took.append(1e3 * (time.perf_counter() - start))
        return statistics.median(took)


def gflop_of(found: list[Measured], requests: int, items: int) -> float:
    """What a step of these numbers of requests and items computes, by the steps that were counted."""
    counted = np.array([[m.requests, m.items] for m in found], dtype=float)
    each = np.linalg.lstsq(counted, np.array([m.gflop for m in found]), rcond=None)[0]
    return float(each @ [requests, items])


def planned(sized: ModelProfile, of: RunConfig, cluster: Cluster) -> PlanReport:
    """What the planner expects of the tables."""
    placement = place(sized.model, of.training, cluster, loads=sized.loads, dense_bytes=sized.dense_bytes)
    return plan_report(sized.model, placement, cluster, of.training.table_optimizer, sized.dense_bytes)


def step_of(plan: PlanReport, dense_ms: float) -> Step:
    """A step of the busiest rank."""
    busiest = plan.ms[plan.ms.sum(axis=1).argmax()]
    parts = dict(zip(PARTS, busiest, strict=True))
    n, speeds = plan.cluster.ranks, plan.cluster.rates
    between = speeds.between if plan.cluster.nodes > 1 else speeds.within
    gradients = plan.dense_bytes / 4  # of weights, gradients and two moments
    return Step(
        dense=dense_ms,
        tables=float(sum(parts[key] for key in COMPUTE)),
        exchange=float(sum(parts[key] for key in EXCHANGE)) + plan.messages_ms,
        all_reduce=1e3 * 2 * (n - 1) / n * gradients / between,
    )


def memory_rate(device: torch.device, smoke: bool) -> float:
    """Bytes a second of a copy, read and written."""
    source = torch.ones((1 << 20) if smoke else (1 << 27), device=device)
    into = torch.empty_like(source)

    def copy() -> None:
        into.copy_(source)

    seconds = machine.best_seconds(copy, device, 0.3)
    return 2 * source.numel() * source.element_size() / seconds
