"""TorchRec's planner, made fit for large clusters: from constraints to a placement of every table's shards.

TorchRec tries thousands of combinations of layouts and estimates every shard of every layout. Its cost grows
with tables x ranks, to minutes for 45 tables on 1,024 ranks. Three things keep a plan under a minute there:

- shards of one size have one estimate (a row-wise table has 1,024 shards of two sizes):
  :class:`~interactrank.sharding.planner.estimators.CachedPerfEstimator`;
- a table only gets the layouts that suit its size:
  :func:`~interactrank.sharding.planner.suited.suited_types`;
- few whole plans are placed and compared, instead of changing one table at a time:
  :class:`~interactrank.sharding.planner.proposer.WeightedProposer`.

While there are few plans all are tried, and up to SMALL_WORLD ranks TorchRec's own search runs as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import nn
from torch.optim import Optimizer
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.constants import DEFAULT_PERF_ESTIMATOR
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
from torchrec.distributed.planner.estimator import EmbeddingPerfEstimatorFactory
from torchrec.distributed.planner.proposers import GreedyProposer, GridSearchProposer, UniformProposer
from torchrec.distributed.planner.shard_estimators import EmbeddingStorageEstimator
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import Proposer, ShardEstimator, ShardingOption, Topology

from interactrank.sharding.byte_sizes import show_bytes
from interactrank.sharding.planner.estimators import CachedPerfEstimator, ExtraMemoryEstimator
from interactrank.sharding.planner.proposer import WeightedProposer
from interactrank.sharding.planner.replication import AllReduceEstimator, replication_reasons
from interactrank.sharding.planner.step_time import StepTime
from interactrank.sharding.settings import TableOptimizer
from interactrank.sharding.tables import TableInfo, table_parameters, tables_of

__all__ = ["SMALL_WORLD", "Placement", "estimators_for", "find_placement", "planner_error_summary"]

SMALL_WORLD = 4
PLACED_SHARDS = 100_000  # while trying all plans on more ranks; some ten seconds


class Placement(list[ShardingOption]):
    """One option for each table, with the rank of each of its shards.

    Args:
        options: the options.
        reasons: table -> why every rank has a copy of it, for replicated tables.
    """

    def __init__(self, options: Iterable[ShardingOption] = (), reasons: Mapping[str, str] | None = None):
        super().__init__(options)
        self.reasons = dict(reasons or {})


def find_placement(
    model: nn.Module,
    constraints: dict[str, ParameterConstraints],
    topology: Topology,
    optimizer: type[Optimizer],
    sharders: list,
    batch_size: int = 512,
    copied: TableOptimizer | None = None,
) -> Placement:
    """Return the best placement that was found, and why tables are replicated.

    Args:
        model: the unsharded model.
        constraints: of every table.
        topology: the ranks, with the memory that tables may take.
        optimizer: of the tables, whose state takes memory.
        sharders: which types and kernels there are, and in which precision embeddings travel.
        batch_size: rows of a batch if a constraint has none.
        copied: the tables' optimizer if the hosts also hold a copy of the tables, for checkpoints.

    Raises:
        PlannerError: the tables cannot be placed.
    """
    estimators = estimators_for(topology, constraints, tables_of(model), copied)
    weighted = WeightedProposer(topology)
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=batch_size,
        constraints=constraints,
        enumerator=EmbeddingEnumerator(topology, batch_size, constraints, estimators),
        # What is reserved was taken off the topology's memory already, on CPU as well as on CUDA.
        storage_reservation=FixedPercentageStorageReservation(0.0),
        proposer=[*_further_proposers(topology.world_size, len(constraints)), weighted],
        performance_model=StepTime(topology),
        stats=[],
        debug=False,
    )
    with _optimizer_noted(model, optimizer):
        planner.plan(model, sharders)
    best = planner._best_plan or []  # TorchRec shows sizes and times nowhere else
    return Placement(best, replication_reasons(best, weighted.tables))


def estimators_for(
    topology: Topology,
    constraints: dict[str, ParameterConstraints],
    tables: list[TableInfo],
    copied: TableOptimizer | None,
) -> list[ShardEstimator]:
    """Return what estimates the time and the memory of every shard, in order; see :func:`find_placement`."""
    times = EmbeddingPerfEstimatorFactory.create(
        DEFAULT_PERF_ESTIMATOR, topology=topology, constraints=constraints
    )
    return [
        CachedPerfEstimator(times),
        AllReduceEstimator(topology),
        EmbeddingStorageEstimator(topology=topology, constraints=constraints),
        ExtraMemoryEstimator(topology.compute_device, tables, copied),
    ]


def _further_proposers(ranks: int, tables: int) -> list[Proposer]:
    """Return TorchRec's proposers: all plans while they are few, and up to SMALL_WORLD ranks three more."""
    if ranks > SMALL_WORLD:
        return [GridSearchProposer(max_proposals=PLACED_SHARDS // (ranks * max(1, tables)))]
    return [GridSearchProposer(), GreedyProposer(), GreedyProposer(use_depth=False), UniformProposer()]


@contextmanager
def _optimizer_noted(model: nn.Module, optimizer: type[Optimizer]) -> Iterator[None]:
    """Tell TorchRec's estimate which optimizer the tables will have; it is applied to them later."""
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
    """Return what the planner failed at last, in one line.

    Example::

        >>> error = ValueError("... Last planner error: Shard of size Storage(hbm=0, ddr=2048, ssd=0)")
        >>> planner_error_summary(error)
        'Shard of size 0 B of HBM and 2.0 KiB of DDR'
    """
    text = str(error)
    _, _, last = text.partition("Last planner error:")
    line = re.sub(r", perf: Perf\(.*?\), rank: None", "", " ".join((last or text).split()))
    group = r"sharding option group ShardingOptionGroup\(.*storage_sum=(Storage\(.*?\)).*\)"
    line = re.sub(group, r"all shards of a table, which take \1", line)

    def size(match: re.Match[str]) -> str:
        return f"{show_bytes(int(match[1]))} of HBM and {show_bytes(int(match[2]))} of DDR"

    return re.sub(r"Storage\(hbm=(-?\d+), ddr=(-?\d+), ssd=-?\d+\)( bytes)?", size, line)
