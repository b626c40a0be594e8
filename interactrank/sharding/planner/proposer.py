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
    rank's memory. The last of these plans has the smallest shards in memory, for tables that hardly fit.

    Then the best plan is changed one table at a time, as long as that makes it faster, until CHANGES plans
    or CHANGED_SHARDS shards were placed.

    Args:
        topology: the ranks.

    Attributes:
        tables: table -> its options, once they are loaded.
    """

    WEIGHTS = (0.0, 0.01, 0.1, 1.0, 10.0)
    SHARES = (1.0, 0.9, 0.75, 0.5, 0.25)
    CHANGES, CHANGED_SHARDS = 64, 100_000

    def __init__(self, topology: Topology) -> None:
        self.ranks = topology.world_size
        self.memory = topology.devices[0].storage
        self.tables: dict[str, list[ShardingOption]] = {}
        self._proposals: list[list[ShardingOption]] = []
        self._best: tuple[float, list[ShardingOption]] | None = None
        self._changed: list[ShardingOption] = []
        self._changes, self._shards = self.CHANGES, self.CHANGED_SHARDS

    def load(self, search_space: list[ShardingOption], enumerator: Enumerator | None = None) -> None:
        """Make the proposals."""
        self.tables = {}
        for option in search_space:
            self.tables.setdefault(option.fqn, []).append(option)
        smallest = [min(options, key=_largest_shard) for options in self.tables.values()]
        self._proposals = []
        for share in self.SHARES:
            fitting = [
                [o for o in options if self._fits(o, share)] or [least]
                for options, least in zip(self.tables.values(), smallest, strict=True)
            ]
            self._proposals += [
                [min(options, key=partial(self._score, weight)) for options in fitting]
                for weight in self.WEIGHTS
            ]
        self._proposals.append(smallest)
        distinct = {tuple(map(id, proposal)): proposal for proposal in self._proposals}
        self._proposals = list(distinct.values())
        self._best, self._changed = None, []
        self._changes, self._shards = self.CHANGES, self.CHANGED_SHARDS

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
        """Go on to the next proposal; after the last one, to changes of the best."""
        proposal = self._proposals.pop(0)
        if partitionable and perf_rating is not None and (not self._best or perf_rating < self._best[0]):
            self._best = perf_rating, proposal
            if self._changed:  # a change for the better: those of the plan before are of no use
                self._proposals = []
        if not self._proposals and self._best and self._best[1] is not self._changed:
            self._changed = self._best[1]
            self._proposals = self._changes_of(self._changed)

    def _changes_of(self, plan: list[ShardingOption]) -> list[list[ShardingOption]]:
        """Return plans that differ in one table, that of the slowest shard first."""
        slowest = sorted(range(len(plan)), key=lambda n: -_slowest_shard(plan[n]))
        found = []
        for n in slowest:
            for option in sorted(self.tables[plan[n].fqn], key=_slowest_shard):
                changed = [*plan[:n], option, *plan[n + 1 :]]
                shards = sum(len(o.shards) for o in changed)
                if option is plan[n] or not self._changes or shards > self._shards:
                    continue
                self._changes, self._shards = self._changes - 1, self._shards - shards
                found.append(changed)
        return found


def _slowest_shard(option: ShardingOption) -> float:
    return max(float(shard.perf.total) for shard in option.shards if shard.perf is not None)


def _largest_shard(option: ShardingOption) -> tuple[int, int]:
    return max((shard.storage.hbm, shard.storage.ddr) for shard in option.shards)
