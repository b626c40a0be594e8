"""The frame of a ranking: every registered metric of every request.

Shapes: R requests, C candidates (jagged under requests).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.arrays import Array
from interactrank.evaluation.metric_frame import PESSIMISTIC, MetricFrame
from interactrank.evaluation.metrics.rank import rank_of_first_relevant
from interactrank.evaluation.metrics.registry import RankMetric, rank_metrics
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates
from interactrank.evaluation.ties import has_ties, random_orders

__all__ = ["DEFAULT_KS", "ranking_metrics", "request_metrics"]

DEFAULT_KS = (1, 3, 10, 100)
_DRAWS = 32  # random orders of tied candidates, for a metric without an exact formula

Floats = NDArray[np.float64]


def ranking_metrics(
    scores: Array, labels: Array, candidate_lengths: Array, *, ks: Sequence[int] = DEFAULT_KS
) -> MetricFrame:
    """Measure jagged, scored candidates.

    Args:
        scores: [C] higher is better; NaN is an error.
        labels: [C] 0 = irrelevant, above 0 = relevant (the gain of NDCG).
        candidate_lengths: [R] candidates of each request.
        ks: cut-offs of hit@k, recall@k and ndcg@k.

    Returns:
        The frame of :func:`request_metrics`, one row per request.

    Raises:
        ValueError: see :func:`ranks_of_candidates`; also a cut-off below 1.

    Example::

        >>> frame = ranking_metrics([0.3, 0.9, 0.1], [1, 0, 0], [3], ks=[1, 3])
        >>> frame["mrr"], frame["hit@1"], frame["hit@3"], frame["auc"]
        (array([0.5]), array([0.]), array([1.]), array([0.5]))
    """
    return request_metrics(ranks_of_candidates(scores, labels, candidate_lengths), ks=ks)


def request_metrics(
    ranks: RelevantRanks, *, ks: Sequence[int] = DEFAULT_KS, keys: NDArray[np.int64] | None = None
) -> MetricFrame:
    """Measure every request, from the ranks of its relevant candidates alone.

    Candidates with equal scores count as if in random order: a metric is the mean over all of them. With the
    suffix ``_pessimistic`` the frame has it with the relevant ones last, which no order can undercut.

    Args:
        ranks: of :func:`ranks_of_candidates` (logged candidates), ``ranks_of_relevant`` (full corpus) or
            :meth:`RelevantRanks.from_pairs` (anything else).
        ks: cut-offs of hit@k, recall@k and ndcg@k.
        keys: [R] different for each request, from which a metric without an exact formula draws its random
            orders; 0..R-1 when left out.

    Returns:
        Columns of R rows: ``candidates``, ``relevant``, ``auc_pairs`` (int64: candidates, relevant ones,
        relevant x irrelevant) and, as float64 with NaN where undefined, ``rank_of_first_relevant`` (1 is
        best, ties last) and those of every registered metric of a request.

    Raises:
        ValueError: a cut-off below 1.

    Example::

        >>> ranks = RelevantRanks.from_pairs(candidates=[10, 10], request=[0, 0], rank=[2, 4])
        >>> frame = request_metrics(ranks, ks=[3])
        >>> frame["recall@3"], frame["map"], frame["relevant"]
        (array([0.5, nan]), array([0.5, nan]), array([2, 0]))
        >>> tied = RelevantRanks.from_pairs(candidates=[2], request=[0], rank=[2], tied=[1])
        >>> frame = request_metrics(tied, ks=[1])
        >>> frame["mrr"], frame["mrr_pessimistic"]  # (1/1 + 1/2) / 2, and 1/2
        (array([0.75]), array([0.5]))
    """
    wrong = [k for k in ks if k < 1]
    if wrong:
        raise ValueError(f"cut-off {wrong[0]} is not allowed; k must be 1 or more")
    relevant = np.bincount(ranks.request, minlength=ranks.num_requests)
    frame: MetricFrame = {
        "candidates": ranks.candidates,
        "relevant": relevant,
        "auc_pairs": relevant * (ranks.candidates - relevant),
        "rank_of_first_relevant": rank_of_first_relevant(ranks),
    }
    tied = has_ties(ranks)
    some = ranks.take(tied) if tied.any() else None
    names = np.arange(ranks.num_requests) if keys is None else keys
    for metric in rank_metrics():
        for k in metric.cut_offs(ks):
            arguments = () if k is None else (k,)
            worst = _column(metric, ranks, arguments)
            frame[metric.column(k)] = value = worst
            if metric.expected is metric.compute:
                continue
            frame[metric.column(k) + PESSIMISTIC] = worst
            if some is not None:
                value = worst.copy()
                value[tied] = _expected(metric, some, names[tied], arguments)
                frame[metric.column(k)] = value
    return frame


def _expected(
    metric: RankMetric, ranks: RelevantRanks, keys: NDArray[np.int64], arguments: tuple[int, ...]
) -> Floats:
    """[R] the mean over the orders of tied candidates."""
    if metric.expected is not None:
        return metric.expected(ranks, *arguments)
    orders = random_orders(ranks, keys, _DRAWS)
    return np.mean([_column(metric, order, arguments) for order in orders], axis=0)


def _column(metric: RankMetric, ranks: RelevantRanks, arguments: tuple[int, ...]) -> Floats:
    values = np.asarray(metric.compute(ranks, *arguments), dtype=np.float64)
    if values.shape != (ranks.num_requests,):
        raise ValueError(
            f"metric '{metric.name}' gave an array of shape {list(values.shape)}; one value for each of "
            f"{ranks.num_requests} requests is needed, NaN where it is not defined"
        )
    return values
