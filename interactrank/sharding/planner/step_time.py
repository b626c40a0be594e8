"""The expected time of a step's tables: what whole plans are compared by."""

from __future__ import annotations

from collections.abc import Sequence

from torchrec.distributed.planner.types import PerfModel, ShardingOption, Topology

from interactrank.sharding.types import TYPES

__all__ = ["GROUP_MS", "StepTime", "exchange_groups"]

GROUP_MS = {"cpu": 1.5, "cuda": 0.1}
"""What each group of tables costs a step in addition to its bytes, in milliseconds.

A collection's tables of one sharding type travel together, in five messages a step: lengths and ids, their
splits, vectors, gradients. On CPU the number was fitted to steps of gloo (``python -m
benchmarks.plan_order``). That of CUDA is an assumption: 20 microseconds for each launch and arrival.
"""
COPIES_MS = {"cpu": 0.6, "cuda": 0.0}
"""What copied tables of a collection cost a step in addition: look-up, gradients and update of their own.

They pay where a collection then exchanges nothing, and not next to tables that are exchanged anyway: 8 of the
26 tables of a DLRM as copies took 7 of 28 ms of a step of two CPU ranks. On CUDA it was not measured.
"""


def copied_groups(options: Sequence[ShardingOption]) -> int:
    """Return how many collections have replicated tables."""
    return len({o.path for o in options if TYPES[o.sharding_type].replicated})


def exchange_groups(options: Sequence[ShardingOption]) -> int:
    """Return how many groups of tables exchange ids and vectors; replicated ones exchange neither."""
    return len({(o.path, o.sharding_type) for o in options if not TYPES[o.sharding_type].replicated})


class StepTime(PerfModel):
    """The busiest rank's time, and what the groups cost, in milliseconds; a single rank exchanges nothing.

    Args:
        topology: the ranks.
    """

    def __init__(self, topology: Topology) -> None:
        self._ranks = topology.world_size
        several = topology.world_size > 1
        self._group_ms = GROUP_MS[topology.compute_device] if several else 0.0
        self._copies_ms = COPIES_MS[topology.compute_device] if several else 0.0

    def rate(self, plan: list[ShardingOption]) -> float:
        """Return the milliseconds of a placed plan."""
        ms = [0.0] * self._ranks
        for option in plan:
            for shard in option.shards:
                assert shard.rank is not None
                assert shard.perf is not None
                ms[shard.rank] += shard.perf.total
        groups = self._group_ms * exchange_groups(plan) + self._copies_ms * copied_groups(plan)
        return max(ms) + groups
