"""Which whole plans the planner places and compares for a large cluster."""

from __future__ import annotations

from functools import partial

from torchrec.distributed.planner.types import Enumerator, Proposer, ShardingOption, Topology

__all__ = ["WeightedProposer"]


class WeightedProposer(Proposer):
    """A proposer of a plan a weight w: each table's layout of the least mean work + w x largest shard.

    The step waits for the busiest rank. Its work is at least the mean over the ranks, and at least that of
    the largest shard. How much more it is depends on how well the shards can be balanced, which only
    placing them tells. So the weights run from 0 (least work in total) to large (no large shard). If two
    large shards do not fit on one rank, all these plans may fail because of one or two tables. So the plans
    are made for each of SHARES: only tables without smaller shards then have a shard above that share of a
    rank's memory. The last plan has the smallest shards in memory, for tables that hardly fit.

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
        """Make the proposals."""
        tables: dict[str, list[ShardingOption]] = {}
        for option in search_space:
            tables.setdefault(option.fqn, []).append(option)
        smallest = [min(options, key=_largest_shard) for options in tables.values()]
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
        hbm, ddr = _largest_shard(option)
        return hbm <= share * self.memory.hbm and ddr <= share * self.memory.ddr

    def _score(self, weight: float, option: ShardingOption) -> float:
        largest = max(shard.perf.total for shard in option.shards)
        return float(option.total_perf / self.ranks + weight * largest)

    def propose(self) -> list[ShardingOption] | None:
        """Return the next proposal; None after the last."""
        return self._proposals[0] if self._proposals else None

    def feedback(
        self,
        partitionable: bool,
        plan: list[ShardingOption] | None = None,
        perf_rating: float | None = None,
        storage_constraint: Topology | None = None,
    ) -> None:
        """Go on to the next proposal, whatever became of this one."""
        self._proposals.pop(0)


def _largest_shard(option: ShardingOption) -> tuple[int, int]:
    return max((shard.storage.hbm, shard.storage.ddr) for shard in option.shards)
