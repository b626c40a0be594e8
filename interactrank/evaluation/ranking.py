r"""Ranking metrics per request: HIT@k, recall@k, MRR, NDCG@k, MAP and the request-level AUC.

With :math:`r_1 < r_2 < \dots < r_P` the ranks of the P relevant candidates of a request and :math:`g_j` their
gains:

- hit@k :math:`= [r_1 \le k]`, mrr :math:`= 1/r_1`, recall@k :math:`= |\{j: r_j \le k\}| / P`
- map :math:`= \frac1P \sum_j j / r_j`
- ndcg@k :math:`= \sum_{r_j \le k} g_j/\log_2(1+r_j)` over the same sum for the best possible order
  (Järvelin and Kekäläinen, TOIS 2002, with linear gain)
- auc = share of (relevant, irrelevant) pairs that are in the right order, a tie counting one half

The InteractRank paper reports HIT@3. A request without a relevant candidate has no value (NaN) in any of
them, one without an irrelevant candidate has none in ``auc``.

Shapes: R requests, C candidates (jagged under requests), P relevant pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.arrays import Array
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates
from interactrank.evaluation.table import RequestTable

__all__ = ["DEFAULT_KS", "ranking_metrics", "request_auc", "request_metrics"]

DEFAULT_KS = (1, 3, 10, 100)


def ranking_metrics(
    scores: Array, labels: Array, candidate_lengths: Array, *, ks: Sequence[int] = DEFAULT_KS
) -> RequestTable:
    """The per-request table of jagged, scored candidates. Ties are pessimistic.

    Args:
        scores: [C] higher is better; NaN is an error.
        labels: [C] 0 = irrelevant, above 0 = relevant (the gain of NDCG).
        candidate_lengths: [R] candidates of each request.
        ks: cut-offs of hit@k, recall@k and ndcg@k.

    Returns:
        The table of :func:`request_metrics`, one row per request.

    Raises:
        ValueError: see :func:`ranks_of_candidates`; also a cut-off below 1.

    Example::

        >>> table = ranking_metrics([0.3, 0.9, 0.1], [1, 0, 0], [3], ks=[1, 3])
        >>> table["mrr"], table["hit@1"], table["hit@3"], table["auc"]
        (array([0.5]), array([0.]), array([1.]), array([0.5]))
    """
    return request_metrics(ranks_of_candidates(scores, labels, candidate_lengths), ks=ks)


def request_metrics(ranks: RelevantRanks, *, ks: Sequence[int] = DEFAULT_KS) -> RequestTable:
    """The per-request table, from the ranks of the relevant candidates alone.

    Args:
        ranks: of :func:`ranks_of_candidates` (logged candidates), :func:`ranks_of_relevant` (full corpus) or
            :meth:`RelevantRanks.from_pairs` (anything else).
        ks: cut-offs of hit@k, recall@k and ndcg@k.

    Returns:
        Columns of R rows: ``candidates``, ``relevant``, ``auc_pairs`` (int64: candidates, relevant ones,
        relevant x irrelevant) and, as float64 with NaN where undefined, ``first_rank`` (1 is best), ``mrr``,
        ``map``, ``auc`` and for each k ``hit@k``, ``recall@k``, ``ndcg@k``, all in [0, 1].

    Raises:
        ValueError: a cut-off below 1.

    Example::

        >>> ranks = RelevantRanks.from_pairs(candidates=[10, 10], request=[0, 0], rank=[2, 4])
        >>> table = request_metrics(ranks, ks=[3])
        >>> table["recall@3"], table["map"], table["relevant"]
        (array([0.5, nan]), array([0.5, nan]), array([2, 0]))
    """
    wrong = [k for k in ks if k < 1]
    if wrong:
        raise ValueError(f"cut-off {wrong[0]} is not allowed; k must be 1 or more")
    request, rank = ranks.request, ranks.rank
    relevant = np.bincount(request, minlength=ranks.num_requests)
    nth = np.arange(len(request)) - (np.cumsum(relevant) - relevant)[request] + 1
    auc, auc_pairs = request_auc(ranks)

    first_rank = np.full(ranks.num_requests, np.nan)
    first_rank[request[nth == 1]] = rank[nth == 1]
    table: RequestTable = {
        "candidates": ranks.candidates,
        "relevant": relevant,
        "auc_pairs": auc_pairs,
        "first_rank": first_rank,
        "mrr": 1.0 / first_rank,
        "map": _per_request(ranks, nth / rank) / _or_nan(relevant),
        "auc": auc,
    }
    ideal_gain = ranks.gain[np.lexsort((-ranks.gain, request))]
    for k in ks:
        within = rank <= k
        table[f"hit@{k}"] = np.where(relevant > 0, first_rank <= k, np.nan)
        table[f"recall@{k}"] = _per_request(ranks, within) / _or_nan(relevant)
        dcg = _per_request(ranks, within * ranks.gain / np.log2(1 + rank))
        best = _per_request(ranks, (nth <= k) * ideal_gain / np.log2(1 + nth))
        table[f"ndcg@{k}"] = dcg / _or_nan(best)
    return table


def request_auc(
    ranks: RelevantRanks, *, tie_credit: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The exact ROC-AUC within each request.

    Args:
        ranks: of the relevant candidates of R requests.
        tie_credit: what a (relevant, irrelevant) pair of equal scores counts: 0.5 is the usual AUC, 0 the
            pessimistic one.

    Returns:
        ([R] AUC in [0, 1], NaN without such a pair; [R] number of pairs).

    Example::

        >>> request_auc(RelevantRanks.from_pairs(candidates=[4], request=[0], rank=[2]))
        (array([0.66666667]), array([3]))
    """
    relevant = np.bincount(ranks.request, minlength=ranks.num_requests)
    irrelevant = ranks.candidates - relevant
    nth = np.arange(len(ranks.request)) - (np.cumsum(relevant) - relevant)[ranks.request] + 1
    # Irrelevant candidates that do not outrank this one; ties are counted as outranking it in `rank`.
    right = irrelevant[ranks.request] - (ranks.rank - nth) + tie_credit * ranks.tied
    pairs = relevant * irrelevant
    return _per_request(ranks, right) / _or_nan(pairs), pairs


def _per_request(ranks: RelevantRanks, values: NDArray[Any]) -> NDArray[np.float64]:
    """Sums values of the relevant pairs by request: [P] -> [R]."""
    sums: NDArray[Any] = np.bincount(ranks.request, weights=values, minlength=ranks.num_requests)
    return sums.astype(np.float64, copy=False)


def _or_nan(denominator: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(denominator > 0, denominator, np.nan)
