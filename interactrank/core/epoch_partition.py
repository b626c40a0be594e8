"""Places of an epoch's order, dealt out to ranks and steps, and dealt out anew when the ranks change.

An epoch is one order of all its requests, the same for any number of ranks. A place is a number in that
order. Each rank takes a contiguous share of the places and cuts it into as many batches as all ranks do.
What a number of steps leaves undone are places again, which other ranks can share among them: so a run may
change its ranks in the middle of an epoch and still see every request once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

__all__ = ["Deal", "Places"]

Places = tuple[tuple[int, int], ...]
"""Runs of places in ascending order, each from its first number up to, but without, its last."""


@dataclass(frozen=True)
class Deal:
    """Places dealt out to ranks.

    Where there are fewer places than ranks, a single step is left to do, and ranks without a place of their
    own repeat another's, because no rank may be without a batch.

    Attributes:
        places: what is dealt out.
        ranks: how many share it.
        batch: places a rank takes in a step, at most.

    Example::

        >>> deal = Deal(((0, 10),), ranks=2, batch=2)
        >>> deal.steps, deal.share(0), deal.share(1, start=1)
        (3, ((0, 5),), ((6, 10),))
        >>> rest = deal.left(1)
        >>> rest, Deal(rest, ranks=1, batch=4).steps
        (((1, 5), (6, 10)), 2)
    """

    places: Places
    ranks: int
    batch: int

    @cached_property
    def count(self) -> int:
        """Places in all."""
        return sum(last - first for first, last in self.places)

    @property
    def steps(self) -> int:
        """Batches of each rank."""
        if self.count < self.ranks:
            return min(self.count, 1)
        largest = -(-self.count // self.ranks)
        return min(self.count // self.ranks, -(-largest // self.batch))  # so that no batch is empty

    def size(self, rank: int, step: int) -> int:
        """Places of the batch of ``rank`` at ``step``."""
        if self.count < self.ranks:
            return 1
        return self._cut(rank, step + 1) - self._cut(rank, step)

    def share(self, rank: int, start: int = 0) -> Places:
        """What ``rank`` takes from step ``start`` on."""
        if self.count < self.ranks:
            alone = rank % max(self.count, 1)
            return self._between(alone, alone + 1) if start < self.steps else ()
        return self._between(self._cut(rank, start), self._cut(rank, self.steps))

    def left(self, step: int) -> Places:
        """What all ranks together have not taken after ``step`` steps."""
        if self.count < self.ranks:
            return self.places if step == 0 else ()
        runs: list[tuple[int, int]] = []
        for rank in range(self.ranks):
            for first, last in self.share(rank, step):
                if runs and runs[-1][1] == first:
                    first = runs.pop()[0]
                runs.append((first, last))
        return tuple(runs)

    def _cut(self, rank: int, step: int) -> int:
        low = self.count * rank // self.ranks
        high = self.count * (rank + 1) // self.ranks
        return low + (high - low) * step // max(self.steps, 1)

    def _between(self, low: int, high: int) -> Places:
        """The ``low``-th to ``high``-th of the places."""
        runs = []
        before = 0
        for first, last in self.places:
            a, b = max(first, first + low - before), min(last, first + high - before)
            if a < b:
                runs.append((a, b))
            before += last - first
        return tuple(runs)
