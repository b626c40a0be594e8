r"""Exact areas under the ROC and the precision-recall curve, over all candidates and within requests.

The request-level AUC is the one that speaks of ranking: it compares candidates of one request only, so a
model gains nothing by knowing which requests are engaged with. The InteractRank reference estimates it in
blocks of 1,024 rows sorted by request: pairs that straddle a block are lost and ties count 0. Here every pair
counts. On the reference's own example of 2,500 rows (20 requests of about 125) its estimate is 0.7568; all
pairs give 0.7589 with ties at 0 (the blocks lose 0.0021) and 0.7619 with ties at one half, the usual
definition.

Weights: weigh by exposure (how often a row stands for), not by the training weight of its label. A weight
that depends on the label changes what the area means.

Shapes: R requests, C candidates (jagged under requests), N rows.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.arrays import Array, as_array, as_floats
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates

__all__ = ["pr_auc", "request_auc", "request_level_auc", "roc_auc"]


def request_auc(
    ranks: RelevantRanks, *, tie_credit: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the exact ROC-AUC within each request.

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
    sums = np.bincount(ranks.request, weights=right, minlength=ranks.num_requests)
    return sums.astype(np.float64, copy=False) / np.where(pairs > 0, pairs, np.nan), pairs


def roc_auc(scores: Array, labels: Array, weights: Array | None = None) -> float:
    r"""Return the probability that a positive row scores above a negative one, ties counting one half.

    :math:`\sum_{i \in +, j \in -} w_i w_j ([s_i > s_j] + \frac12 [s_i = s_j]) / \sum_{i,j} w_i w_j`.

    Args:
        scores: [N] higher is more likely positive; NaN is an error.
        labels: [N] 0 or 1.
        weights: [N] 0 or more; 1 when left out.

    Returns:
        The area in [0, 1]; NaN when one of the classes has no weight.

    Raises:
        ValueError: a NaN score, a label other than 0 and 1, a negative weight, lengths that differ.

    Example::

        >>> roc_auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
        0.875
    """
    positive, negative = _weight_by_score(scores, labels, weights)
    pairs = positive.sum() * negative.sum()
    if pairs == 0:
        return float("nan")
    negatives_below = np.cumsum(negative) - negative
    return float((positive * (negatives_below + 0.5 * negative)).sum() / pairs)


def pr_auc(scores: Array, labels: Array, weights: Array | None = None) -> float:
    r"""Return the area under the precision-recall curve as average precision, which never interpolates.

    :math:`\sum_t (R_t - R_{t-1}) P_t` over the distinct scores from the highest down, rows of one score
    entering together. (Joining the points by straight lines would be optimistic: Davis and Goadrich, ICML
    2006.)

    Args:
        scores: [N] higher is more likely positive; NaN is an error.
        labels: [N] 0 or 1.
        weights: [N] 0 or more; 1 when left out.

    Returns:
        The area in [0, 1]; NaN when no positive row has weight.

    Raises:
        ValueError: a NaN score, a label other than 0 and 1, a negative weight, lengths that differ.

    Example::

        >>> pr_auc([0.9, 0.5, 0.1], [1, 0, 1])  # (1/1 + 2/3) / 2
        0.8333333333333333
    """
    positive, negative = _weight_by_score(scores, labels, weights)
    total = positive.sum()
    if total == 0:
        return float("nan")
    positive, negative = positive[::-1], negative[::-1]
    retrieved = np.cumsum(positive + negative)
    found = np.cumsum(positive)
    precision = np.divide(found, retrieved, out=np.zeros_like(found), where=retrieved > 0)
    return float((positive * precision).sum() / total)


def request_level_auc(
    scores: Array,
    labels: Array,
    candidate_lengths: Array,
    *,
    weighting: Literal["request", "pair"] = "request",
    tie_credit: float = 0.5,
) -> float:
    """Return the exact AUC within requests, averaged.

    Args:
        scores: [C] higher is better; NaN is an error.
        labels: [C] 0 = irrelevant, above 0 = relevant.
        candidate_lengths: [R] candidates of each request.
        weighting: ``"request"``: the mean over the requests that have both classes. ``"pair"``: all
            (relevant, irrelevant) pairs of one request count alike, so that requests with many candidates
            weigh more; this is what the reference estimates.
        tie_credit: what a pair of equal scores counts; 0.5 is the usual AUC, 0 what the reference counts.

    Returns:
        The area in [0, 1]; NaN when no request has both classes.

    Raises:
        ValueError: an unknown weighting, or what :func:`ranks_of_candidates` refuses.

    Example::

        >>> request_level_auc([0.9, 0.1, 0.2, 0.8, 0.3], [1, 0, 1, 0, 0], [2, 3])
        0.5
        >>> request_level_auc([0.9, 0.1, 0.2, 0.8, 0.3], [1, 0, 1, 0, 0], [2, 3], weighting="pair")
        0.3333333333333333
    """
    if weighting not in ("request", "pair"):
        raise ValueError(f"weighting {weighting!r} is not allowed; choose 'request' or 'pair'")
    auc, pairs = request_auc(ranks_of_candidates(scores, labels, candidate_lengths), tie_credit=tie_credit)
    both = pairs > 0
    if not both.any():
        return float("nan")
    return float(np.average(auc[both], weights=pairs[both] if weighting == "pair" else None))


def _weight_by_score(
    scores: Array, labels: Array, weights: Array | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight of positive and of negative rows at each distinct score, scores ascending."""
    score = as_floats(scores, "scores")
    label = as_array(labels, "labels")
    weight = (
        np.ones(len(score)) if weights is None else as_floats(weights, "weights", finite=True, minimum=0.0)
    )
    if not len(score) == len(label) == len(weight):
        raise ValueError(
            f"{len(score)} scores, {len(label)} labels and {len(weight)} weights; as many of each are needed"
        )
    bad = (label != 0) & (label != 1)
    if bad.any():
        raise ValueError(f"labels[{bad.argmax()}] is {label[bad.argmax()]}; only 0 and 1 are allowed")
    distinct, level = np.unique(score, return_inverse=True)

    def sum_by_level(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        sums: NDArray[Any] = np.bincount(level[chosen], weights=weight[chosen], minlength=len(distinct))
        return sums.astype(np.float64, copy=False)

    return sum_by_level(label == 1), sum_by_level(label == 0)
