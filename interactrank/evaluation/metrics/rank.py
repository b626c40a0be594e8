r"""Metrics of a request from the ranks of its relevant candidates: HIT@k, MRR, NDCG@k, recall@k, MAP.

With :math:`r_1 < r_2 < \dots < r_P` the ranks of the P relevant candidates of a request and :math:`g_j` their
gains:

- hit@k :math:`= [r_1 \le k]`, mrr :math:`= 1/r_1`, recall@k :math:`= |\{j: r_j \le k\}| / P`
- map :math:`= \frac1P \sum_j j / r_j`
- ndcg@k :math:`= \sum_{r_j \le k} g_j/\log_2(1+r_j)` over the same sum for the best possible order
  (Järvelin and Kekäläinen, TOIS 2002, with linear gain)

Each is there twice: of the ranks as they are, and the exact mean over all orders of tied candidates, by the
formulas of :mod:`interactrank.evaluation.ties`. The InteractRank paper reports HIT@3. A request without a
relevant candidate has no value (NaN).

Shapes: R requests, P relevant pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.ranks import RelevantRanks
from interactrank.evaluation.ties import TieGroups

__all__ = [
    "average_precision",
    "expected_average_precision",
    "expected_hit",
    "expected_mrr",
    "expected_ndcg",
    "expected_recall",
    "hit",
    "mrr",
    "ndcg",
    "rank_of_first_relevant",
    "recall",
]

Floats = NDArray[np.float64]


def rank_of_first_relevant(ranks: RelevantRanks) -> Floats:
    """Return [R] the pessimistic rank of the best relevant candidate, 1 or more; NaN without one.

    Example::

        >>> rank_of_first_relevant(RelevantRanks.from_pairs(candidates=[9, 9], request=[0, 0], rank=[4, 2]))
        array([ 2., nan])
    """
    result = np.full(ranks.num_requests, np.nan)
    first = _nth(ranks) == 1
    result[ranks.request[first]] = ranks.rank[first]
    return result


def hit(ranks: RelevantRanks, k: int) -> Floats:
    """Return [R] whether the best relevant candidate is within the first k: 1 or 0."""
    first = rank_of_first_relevant(ranks)
    return np.where(np.isnan(first), np.nan, first <= k)


def expected_hit(ranks: RelevantRanks, k: int) -> Floats:
    """Return [R] the chance of :func:`hit` over all orders of tied candidates."""
    groups = TieGroups(ranks)
    return _of_leading(groups, groups.any_within(k))


def mrr(ranks: RelevantRanks) -> Floats:
    """Return [R] the reciprocal rank of the best relevant candidate, in (0, 1]."""
    return 1.0 / rank_of_first_relevant(ranks)


def expected_mrr(ranks: RelevantRanks) -> Floats:
    """Return [R] the mean of :func:`mrr` over all orders of tied candidates."""
    groups = TieGroups(ranks)
    return _of_leading(groups, groups.mean_reciprocal())


def average_precision(ranks: RelevantRanks) -> Floats:
    """Return [R] the mean over the relevant candidates of the precision at their ranks."""
    return _mean_over_relevant(ranks, _nth(ranks) / ranks.rank)


def expected_average_precision(ranks: RelevantRanks) -> Floats:
    """Return [R] the mean of :func:`average_precision` over all orders of tied candidates."""
    return _mean_over_relevant(ranks, TieGroups(ranks).mean_precision())


def recall(ranks: RelevantRanks, k: int) -> Floats:
    """Return [R] the share of the relevant candidates that are within the first k."""
    return _mean_over_relevant(ranks, ranks.rank <= k)


def expected_recall(ranks: RelevantRanks, k: int) -> Floats:
    """Return [R] the mean of :func:`recall` over all orders of tied candidates."""
    return _mean_over_relevant(ranks, TieGroups(ranks).share_within(k))


def ndcg(ranks: RelevantRanks, k: int) -> Floats:
    """Return [R] DCG@k over that of the best possible order, with linear gains."""
    dcg = _per_request(ranks, (ranks.rank <= k) * ranks.gain / np.log2(1 + ranks.rank))
    return dcg / _best_dcg(ranks, k)


def expected_ndcg(ranks: RelevantRanks, k: int) -> Floats:
    """Return [R] the mean of :func:`ndcg` over all orders of tied candidates."""
    discounts = 1.0 / np.log2(1 + np.arange(1, k + 1))
    dcg = _per_request(ranks, ranks.gain * TieGroups(ranks).mean_discount(discounts, k))
    return dcg / _best_dcg(ranks, k)


def _best_dcg(ranks: RelevantRanks, k: int) -> Floats:
    """[R] DCG@k of the best possible order; NaN without a relevant candidate."""
    nth, ideal_gain = _nth(ranks), ranks.gain[np.lexsort((-ranks.gain, ranks.request))]
    best = _per_request(ranks, (nth <= k) * ideal_gain / np.log2(1 + nth))
    return np.where(best > 0, best, np.nan)


def _nth(ranks: RelevantRanks) -> NDArray[np.int64]:
    """[P] the place of each pair among the relevant ones of its request, from 1."""
    relevant = np.bincount(ranks.request, minlength=ranks.num_requests)
    starts = np.cumsum(relevant) - relevant
    nth: NDArray[np.int64] = np.arange(len(ranks.request)) - starts[ranks.request] + 1
    return nth


def _of_leading(groups: TieGroups, values: Floats) -> Floats:
    """[R'] values of the best group of each request that has one -> [R]."""
    result = np.full(groups.ranks.num_requests, np.nan)
    result[groups.ranks.request[groups.first[groups.leading]]] = values
    return result


def _mean_over_relevant(ranks: RelevantRanks, values: NDArray[Any]) -> Floats:
    relevant = np.bincount(ranks.request, minlength=ranks.num_requests)
    return _per_request(ranks, values) / np.where(relevant > 0, relevant, np.nan)


def _per_request(ranks: RelevantRanks, values: NDArray[Any]) -> Floats:
    """Return sums of values of the relevant pairs by request: [P] -> [R]."""
    sums: NDArray[Any] = np.bincount(ranks.request, weights=values, minlength=ranks.num_requests)
    return sums.astype(np.float64, copy=False)
