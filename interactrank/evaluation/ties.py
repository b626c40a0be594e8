r"""Candidates with equal scores: the mean of a metric over all their orders, not the luck of one.

A scorer that gives items the same score says nothing about their order, so that any order is as likely as any
other. With t candidates tied, m relevant among them, a above them, and the cut-off k leaving
:math:`s = \min(\max(k - a, 0), t)` of their places:

- the place x of one relevant candidate is uniform in 1..t, so a discount d(rank) counts
  :math:`\frac1t \sum_{x=1}^{t} d(a + x)` (NDCG, recall);
- no relevant one is within the first x places with probability
  :math:`\prod_{j<m} \frac{t-x-j}{t-j}` (HIT, and through its differences MRR).

Where nothing is tied, these formulas are not used: values are those of the ranks, bit for bit.

Shapes: R requests, P relevant pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.ranks import RelevantRanks

__all__ = ["TieGroups", "has_ties", "random_orders"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def has_ties(ranks: RelevantRanks) -> NDArray[np.bool_]:
    """Return for which requests the order of tied candidates can change a metric.

    Args:
        ranks: of R requests.

    Returns:
        [R] bool. A relevant candidate is tied with an irrelevant one, or with one of another gain.

    Example::

        >>> has_ties(RelevantRanks.from_pairs(candidates=[4, 4], request=[0, 1], rank=[2, 2], tied=[1, 0]))
        array([ True, False])
    """
    result = np.zeros(ranks.num_requests, dtype=bool)
    result[ranks.request[ranks.tied > 0]] = True
    mixed = (ranks.group[1:] == ranks.group[:-1]) & (ranks.gain[1:] != ranks.gain[:-1])
    result[ranks.request[1:][mixed]] = True
    return result


@dataclass(frozen=True)
class TieGroups:
    """The tie groups that hold a relevant candidate, and the exact means over their orders.

    Attributes:
        ranks: of R requests.
    """

    ranks: RelevantRanks

    @cached_property
    def first(self) -> Ints:
        """[G] the first pair of each group."""
        group = self.ranks.group
        starts = np.ones(len(group), dtype=bool)
        starts[1:] = group[1:] != group[:-1]
        return np.flatnonzero(starts)

    @cached_property
    def of_pair(self) -> Ints:
        """[P] the group of each pair, in 0..G-1."""
        return np.repeat(np.arange(len(self.first)), self.relevant)

    @cached_property
    def relevant(self) -> Ints:
        """[G] m, the relevant candidates of each group."""
        return np.diff(np.append(self.first, len(self.ranks.group)))

    @cached_property
    def size(self) -> Ints:
        """[G] t, all candidates of each group."""
        return self.relevant + self.ranks.tied[self.first]

    @cached_property
    def above(self) -> Ints:
        """[G] a, candidates of the request that score higher."""
        return self.ranks.rank[self.first] - 1 - self.ranks.tied[self.first]

    @cached_property
    def leading(self) -> Ints:
        """[R'] the first group of each request that has a relevant candidate, requests ascending."""
        request = self.ranks.request[self.first]
        starts = np.ones(len(request), dtype=bool)
        starts[1:] = request[1:] != request[:-1]
        return np.flatnonzero(starts)

    def places_within(self, k: int) -> Ints:
        """Return [G] s, how many places of each group are within the cut-off."""
        return np.clip(k - self.above, 0, self.size)

    def share_within(self, k: int) -> Floats:
        """Return [P] the chance of each relevant candidate to be within the cut-off: s / t."""
        return (self.places_within(k) / self.size)[self.of_pair]

    def mean_discount(self, discounts: Floats, k: int) -> Floats:
        """Return [P] the mean of a discount over the places of each pair within the cut-off.

        Args:
            discounts: [K] of the ranks 1..K, K at least the lowest rank within the cut-off.
            k: the cut-off.
        """
        total = np.concatenate([[0.0], np.cumsum(discounts)])
        low = np.minimum(self.above, k)
        return ((total[low + self.places_within(k)] - total[low]) / self.size)[self.of_pair]

    def any_within(self, k: int) -> Floats:
        """Return [R'] the chance that one of the best group's relevant candidates is within the cut-off."""
        t, m = self.size[self.leading], self.relevant[self.leading]
        return 1.0 - _none_within(t, m, self.places_within(k)[self.leading])

    def mean_reciprocal(self) -> Floats:
        """Return [R'] the mean of 1 / rank of the first relevant candidate."""
        a, t, m = (column[self.leading] for column in (self.above, self.size, self.relevant))
        result = np.zeros(len(a))
        one = m == 1
        sums = _harmonic(int((a + t)[one].max(initial=0)))
        result[one] = (sums[(a + t)[one]] - sums[a[one]]) / t[one]
        distinct, which = np.unique(np.stack([a, t, m], axis=1)[~one], axis=0, return_inverse=True)
        values = np.array([_mean_reciprocal(*map(int, row)) for row in distinct])
        if len(values):
            result[~one] = values[which.ravel()]
        return result

    def mean_precision(self) -> Floats:
        """Return [P] the mean of (relevant candidates up to and with this one) / (its rank).

        At place x of its group, c(x - 1) of the group's other relevant ones are expected above it, with
        c = (m - 1) / (t - 1), and b relevant ones are in the groups above. The mean over x of
        (b + 1 + c(x - 1)) / (a + x) is c + (b + 1 - c(a + 1)) (H(a + t) - H(a)) / t.
        """
        a, t, m = self.above, self.size, self.relevant
        request = self.ranks.request[self.first]
        start = np.searchsorted(self.ranks.request, request)
        before = self.first - start
        c = (m - 1) / np.maximum(t - 1, 1)
        sums = _harmonic(int((a + t).max(initial=0)))
        mean = c + (before + 1 - c * (a + 1)) * (sums[a + t] - sums[a]) / t
        return mean[self.of_pair]


def _none_within(t: Ints, m: Ints, s: Ints) -> Floats:
    """Return the chance that none of m relevant among t is within the first s places, elementwise."""
    chance = np.ones(len(t))
    for j in range(int(m.max(initial=0))):
        factor = np.clip(t - s - j, 0, None) / np.maximum(t - j, 1)
        chance = np.where(j < m, chance * factor, chance)
    return chance


def _mean_reciprocal(a: int, t: int, m: int) -> float:
    """Return the mean of 1 / (a + x), x the first place of m among t."""
    x = np.arange(1, t - m + 1)
    # P(x = 1) = m / t, and P(x + 1) = P(x) (t - x - m + 1) / (t - x).
    chance = np.concatenate([[m / t], (t - x - m + 1) / (t - x)]).cumprod()
    return float((chance / (a + np.arange(1, t - m + 2))).sum())


def _harmonic(top: int) -> Floats:
    """[top + 1] H(n) = 1 + 1/2 + ... + 1/n of n = 0..top."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, top + 1))])


def random_orders(ranks: RelevantRanks, keys: NDArray[np.int64], draws: int) -> Iterator[RelevantRanks]:
    """Yield the ranks with ties in a random order, for metrics without an exact formula.

    An order depends on the key of its request and on the number of the draw alone: neither blocks nor ranks
    change a digit.

    Args:
        ranks: of R requests.
        keys: [R] int64, different for each request.
        draws: how many.

    Yields:
        Ranks without ties.
    """
    groups = TieGroups(ranks)
    size, above = groups.size[groups.of_pair], groups.above[groups.of_pair]
    nth = np.arange(len(ranks.rank)) - groups.first[groups.of_pair]
    number = np.arange(len(ranks.rank)) - np.searchsorted(ranks.request, ranks.request)  # within its request
    pair_keys = _mix(keys[ranks.request].astype(np.uint64), number.astype(np.uint64))
    for draw in range(draws):
        uniform = _mix(pair_keys, np.full(len(pair_keys), draw, np.uint64)) / 2.0**64
        place = _distinct_places((uniform * (size - nth)).astype(np.int64), groups, nth)
        rank = above + 1 + place
        order = np.lexsort((rank, ranks.request))
        yield RelevantRanks(
            candidates=ranks.candidates,
            request=ranks.request,
            rank=rank[order],
            tied=np.zeros_like(ranks.tied),
            gain=ranks.gain[order],
            group=np.arange(len(rank)),
        )


def _distinct_places(free: Ints, groups: TieGroups, nth: Ints) -> Ints:
    """[P] places from 0: the ``nth`` pair of a group takes the ``free``-th one that those before it left."""
    place = free.copy()
    for j in range(1, int(groups.relevant.max(initial=1))):
        rows = np.flatnonzero(nth == j)
        taken = np.sort(place[rows[:, None] - np.arange(1, j + 1)], axis=1)
        for column in range(j):
            place[rows] += place[rows] >= taken[:, column]
    return place


def _mix(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a well mixed hash of two numbers (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        x = first * np.uint64(0x9E3779B97F4A7C15) + second + np.uint64(0x632BE59BD9B4E019)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
