"""TorchRec's planner, made fit for large clusters: from constraints to a placement of every table's parts.

TorchRec tries thousands of combinations of layouts, estimates every part of every layout, and its cost grows
with tables x ranks, to minutes for 45 tables on 1,024 ranks. Three things keep a plan under a minute there:

- parts of one size have one estimate, made once (a row-wise table has 1,024 parts of two sizes);
- a table only gets the layouts that suit its size (``plan.suited_types``): a part on every rank for tables
  that need it, the ranks of one machine for those that fit there, one rank for small ones;
- few whole plans are placed and compared, from "least work in total" to "no part that others wait for"
  (:class:`WeightedProposer`), instead of changing one table at a time.

Up to SMALL_WORLD ranks TorchRec's own search runs unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from torch import nn
from torch.optim import Optimizer
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.constants import DEFAULT_PERF_ESTIMATOR
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
from torchrec.distributed.planner.estimator import EmbeddingPerfEstimatorFactory
from torchrec.distributed.planner.shard_estimators import EmbeddingStorageEstimator
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import (
    Enumerator,
    Proposer,
    SharderDataMap,
    ShardEstimator,
    ShardingOption,
    Storage,
    Topology,
)

from interactrank.sharding.planner.cluster import show_bytes
from interactrank.sharding.settings import TableOptimizer
from interactrank.sharding.table_optimizer import state_bytes
from interactrank.sharding.tables import TableInfo, table_parameters, tables_of

__all__ = [
    "GRADIENTS",
    "SMALL_WORLD",
    "WeightedProposer",
    "find_placement",
    "held_bytes",
    "planner_error_summary",
]

SMALL_WORLD = 4
# Of a replicated table, each as large as it: the one that the ranks exchange, and at its peak a step has a
# second, from which that one is filled, or its squares in the optimizer (measured on two ranks of CPU).
GRADIENTS = 2


def find_placement(
    model: nn.Module,
    constraints: dict[str, ParameterConstraints],
    topology: Topology,
    optimizer: type[Optimizer],
    sharders: list,
    batch_size: int = 512,
    copied: TableOptimizer | None = None,
) -> list[ShardingOption]:
    """The best placement that was found, one option for each table with the rank of each of its parts.

    Args:
        model: the unsharded model.
        constraints: of every table.
        topology: the ranks, with the memory that tables may take.
        optimizer: of the tables, whose state takes memory.
        sharders: which types and kernels there are, and in which precision embeddings travel.
        batch_size: rows of a batch where a constraint has none.
        copied: the tables' optimizer where the hosts also have a copy of all, for checkpoints.

    Raises:
        PlannerError: the tables cannot be placed.
    """
    estimators = [
        CachedPerfEstimator(
            EmbeddingPerfEstimatorFactory.create(
                DEFAULT_PERF_ESTIMATOR, topology=topology, constraints=constraints
            )
        ),
        EmbeddingStorageEstimator(topology=topology, constraints=constraints),
        ExtraMemoryEstimator(topology.compute_device, tables_of(model), copied),
    ]
    large = topology.world_size > SMALL_WORLD
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=batch_size,
        constraints=constraints,
        enumerator=EmbeddingEnumerator(topology, batch_size, constraints, estimators),
        # What is reserved was taken off the topology's memory already, on CPU as well as on CUDA.
        storage_reservation=FixedPercentageStorageReservation(0.0),
        proposer=[WeightedProposer(topology)] if large else None,
        stats=[],
        debug=False,
    )
    with _counted(model, optimizer):
        planner.plan(model, sharders)
    return list(planner._best_plan or [])  # TorchRec shows sizes and times nowhere else


class WeightedProposer(Proposer):
    """Few proposals: for each weight, every table's layout of the least (mean work + weight x largest part).

    The step waits for the busiest rank. Its work is at least the mean over the ranks, and at least that of
    the largest part; how much more depends on how well the parts can be balanced, which only placing them
    tells. So the weights run from 0 (least work in total) to large (no large part). Where two large parts do
    not fit on one rank, all these may fail for the sake of a table or two; so they are made for each of
    SHARES, in which only tables without smaller parts have a part above that share of a rank's memory. The
    last proposal has the smallest parts in memory, for tables that hardly fit.

    Args:
        topology: the ranks.
    """

    WEIGHTS = (0.0, 0.01, 0.1, 1.0, 10.0)
    SHARES = (1.0, 0.9, 0.75, 0.5, 0.25)

    def __init__(self, topology: Topology) -> None:
        self.ranks = topology.world_size
        self.memory = topology.devices[0].storage
        self._proposals: list[list[ShardingOption]] = []

    def load(self, search_space: list[ShardingOption], enumerator: Enumerator | None = None) -> None:
        """Makes the proposals."""
        tables: dict[str, list[ShardingOption]] = {}
        for option in search_space:
            tables.setdefault(option.fqn, []).append(option)
        smallest = [min(options, key=_largest_part) for options in tables.values()]
        self._proposals = []
        for share in self.SHARES:
            fitting = [
                [o for o in options if self._fits(o, share)] or [least]
                for options, least in zip(tables.values(), smallest, strict=True)
            ]
            self._proposals += [
                [min(options, key=partial(self._score, weight)) for options in fitting]
                for weight in self.WEIGHTS
            ]
        self._proposals.append(smallest)
        distinct = {tuple(map(id, proposal)): proposal for proposal in self._proposals}
        self._proposals = list(distinct.values())

    def _fits(self, option: ShardingOption, share: float) -> bool:
        hbm, ddr = _largest_part(option)
        return hbm <= share * self.memory.hbm and ddr <= share * self.memory.ddr

    def _score(self, weight: float, option: ShardingOption) -> float:
        largest = max(shard.perf.total for shard in option.shards)
        return float(option.total_perf / self.ranks + weight * largest)

    def propose(self) -> list[ShardingOption] | None:
        """The next proposal; None after the last."""
        return self._proposals[0] if self._proposals else None

    def feedback(
        self,
        partitionable: bool,
        plan: list[ShardingOption] | None = None,
        perf_rating: float | None = None,
        storage_constraint: Topology | None = None,
    ) -> None:
        """Goes on to the next proposal, whatever became of this one."""
        self._proposals.pop(0)


class CachedPerfEstimator(ShardEstimator):
    """Estimates the time of one part of each size and takes it for all parts of that size.

    TorchRec's estimate of a part depends on nothing of it but its size.
    """

    def __init__(self, inner: ShardEstimator) -> None:
        self.inner = inner

    def estimate(self, sharding_options: list[ShardingOption], sharder_data_map: SharderDataMap) -> None:
        for option in sharding_options:
            shards = option.shards
            first = {tuple(shard.size): shard for shard in reversed(shards)}
            option.shards = list(first.values())
            self.inner.estimate([option], sharder_data_map)
            option.shards = shards
            for shard in shards:
                shard.perf = first[tuple(shard.size)].perf


class ExtraMemoryEstimator(ShardEstimator):
    """Adds what tables hold beside weights and optimizer state, of which TorchRec's estimate knows nothing.

    The ids of managed tables and the gradients of replicated ones, which lie in the device's memory as the
    weights do, and copies for checkpoints, which lie in the host's. The estimate of the weights comes first.
    """

    def __init__(self, device: str, tables: list[TableInfo], copied: TableOptimizer | None) -> None:
        self.device, self.copied = device, copied
        self.tables = {table.path: table for table in tables}

    def estimate(self, sharding_options: list[ShardingOption], sharder_data_map: SharderDataMap) -> None:
        for option in sharding_options:
            table = self.tables[option.fqn]
            more = {tuple(shard.size): self._more(option, table, shard.size) for shard in option.shards}
            for shard in option.shards:
                assert shard.storage is not None
                shard.storage += more[tuple(shard.size)]

    def _more(self, option: ShardingOption, table: TableInfo, size: list[int]) -> Storage:
        part = replace(table, rows=size[0], dim=size[1])
        own = part.managed_bytes
        if option.sharding_type == "data_parallel":
            own += GRADIENTS * part.bytes
        copy = 0 if self.copied is None else held_bytes(part, self.copied)
        return Storage(hbm=own, ddr=copy) if self.device == "cuda" else Storage(hbm=0, ddr=own + copy)


def held_bytes(table: TableInfo, optimizer: TableOptimizer, column_parts: int = 1) -> int:
    """What a table, or a part of one, keeps from step to step: weights, optimizer state and managed ids.

    ``training.checkpoint_async`` keeps a copy of as much in the host's memory.
    """
    return table.bytes + table.managed_bytes + state_bytes(table, optimizer, column_parts)


def _largest_part(option: ShardingOption) -> tuple[int, int]:
    return max((shard.storage.hbm, shard.storage.ddr) for shard in option.shards)


@contextmanager
def _counted(model: nn.Module, optimizer: type[Optimizer]) -> Iterator[None]:
    """Tells TorchRec's estimate which optimizer the tables will have; it is applied to them later."""
    # The attribute is TorchRec's own mark on a parameter, which torch's types do not know.
    weights = list(table_parameters(model).values())
    for weight in weights:
        weight._optimizer_classes = [optimizer]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for weight in weights:
            del weight._optimizer_classes  # type: ignore[attr-defined]


def planner_error_summary(error: Exception) -> str:
    """What the planner met last, in one line.

    Example::

        >>> error = ValueError("... Last planner error: Shard of size Storage(hbm=0, ddr=2048, ssd=0)")
        >>> planner_error_summary(error)
        'Shard of size 0 B of HBM and 2.0 KiB of DDR'
    """
    text = str(error)
    _, _, last = text.partition("Last planner error:")
    line = re.sub(r", perf: Perf\(.*?\), rank: None", "", " ".join((last or text).split()))
    group = r"sharding option group ShardingOptionGroup\(.*storage_sum=(Storage\(.*?\)).*\)"
    line = re.sub(group, r"all parts of a table, which take \1", line)

    def size(match: re.Match[str]) -> str:
        return f"{show_bytes(int(match[1]))} of HBM and {show_bytes(int(match[2]))} of DDR"

    return re.sub(r"Storage\(hbm=(-?\d+), ddr=(-?\d+), ssd=-?\d+\)( bytes)?", size, line)
