"""Partitions an epoch across ranks and steps, and repartitions the rest when the number of ranks changes.

An epoch is one order of all its samples, the same for any number of ranks; a position is an index into that
order. Each rank takes a contiguous share of the positions and cuts it into as many batches as every other
rank. The positions that remain after some steps are ranges again, which another number of ranks can share:
a run may change its ranks in the middle of an epoch and still see every sample once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

__all__ = ["EpochPartition", "Ranges"]

Ranges = tuple[tuple[int, int], ...]
"""Ranges of positions in ascending order: (first, last), without last."""


@dataclass(frozen=True)
class EpochPartition:
    """Ranges of an epoch, partitioned across ranks.

    With fewer positions than ranks there is a single step, in which ranks without a position of their own
    repeat another's, because every rank needs a batch.

    Attributes:
        ranges: the positions to partition.
        ranks: number of ranks that share them.
        batch: largest number of positions that a rank takes in a step.

    Example::

        >>> partition = EpochPartition(((0, 10),), ranks=2, batch=2)
        >>> partition.steps, partition.share(0), partition.share(1, start=1)
        (3, ((0, 5),), ((6, 10),))
        >>> remaining = partition.remaining(1)
        >>> remaining, EpochPartition(remaining, ranks=1, batch=4).steps
        (((1, 5), (6, 10)), 2)
    """

    ranges: Ranges
    ranks: int
    batch: int

    @cached_property
    def count(self) -> int:
        """Number of positions."""
        return sum(last - first for first, last in self.ranges)

    @property
    def steps(self) -> int:
        """Number of batches of each rank."""
        if self.count < self.ranks:
            return min(self.count, 1)
        largest = -(-self.count // self.ranks)
        return min(self.count // self.ranks, -(-largest // self.batch))  # so that no batch is empty

    def size(self, rank: int, step: int) -> int:
        """Return the number of positions in the batch of ``rank`` at ``step``."""
        if self.count < self.ranks:
            return 1
        return self._bound(rank, step + 1) - self._bound(rank, step)

    def share(self, rank: int, start: int = 0) -> Ranges:
        """Return the positions that ``rank`` takes from step ``start`` on."""
        if self.count < self.ranks:
            alone = rank % max(self.count, 1)
            return self._slice(alone, alone + 1) if start < self.steps else ()
        return self._slice(self._bound(rank, start), self._bound(rank, self.steps))

    def remaining(self, step: int) -> Ranges:
        """Return the positions that no rank has taken after ``step`` steps."""
        if self.count < self.ranks:
            return self.ranges if step == 0 else ()
        merged: list[tuple[int, int]] = []
        for rank in range(self.ranks):
            for first, last in self.share(rank, step):
                if merged and merged[-1][1] == first:
                    first = merged.pop()[0]
                merged.append((first, last))
        return tuple(merged)

    def _bound(self, rank: int, step: int) -> int:
        """Return where the batch of ``rank`` at ``step`` begins, counted over all ranges together."""
        low = self.count * rank // self.ranks
        high = self.count * (rank + 1) // self.ranks
        return low + (high - low) * step // max(self.steps, 1)

    def _slice(self, low: int, high: int) -> Ranges:
        """Return positions ``low`` to ``high`` (without it), counted over all ranges together."""
        ranges = []
        before = 0  # positions in the ranges until here
        for first, last in self.ranges:
            a, b = max(first, first + low - before), min(last, first + high - before)
            if a < b:
                ranges.append((a, b))
            before += last - first
        return tuple(ranges)
