r"""Are the predicted probabilities right? Normalised entropy and calibration of a pointwise head.

- ne: cross entropy of the predictions over that of always predicting the base rate (He et al., ADKDD 2014);
  below 1 the model knows more than the base rate, lower is better.
- calibration: sum of predictions over sum of labels; 1 is right, above 1 too optimistic.

A model that was trained with a focal loss or with drawn negatives may rank well and still be far from 1 in
both: its scores are then no probabilities to bid or to blend with.

Shapes: N rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.arrays import Array, as_array, as_floats

__all__ = ["calibration_ratio", "normalized_entropy"]

_CERTAIN = 1e-12  # a certain prediction that is wrong costs -log of this, not infinity

Floats = NDArray[np.float64]


def normalized_entropy(probabilities: Array, labels: Array, weights: Array | None = None) -> float:
    r"""Return the cross entropy of predictions over that of the base rate.

    :math:`-\sum_i w_i (y_i \log p_i + (1 - y_i) \log(1 - p_i))` over the same sum with the weighted mean of
    the labels for every :math:`p_i`.

    Args:
        probabilities: [N] in [0, 1].
        labels: [N] 0 or 1.
        weights: [N] 0 or more; 1 when left out.

    Returns:
        0 or more; NaN when one of the classes has no weight.

    Raises:
        ValueError: a value out of its range, or lengths that differ.

    Example::

        >>> normalized_entropy([0.5, 0.5], [1, 0])
        1.0
    """
    p, y, w = _rows(probabilities, labels, weights)
    total, positive = w.sum(), (w * y).sum()
    if not 0 < positive < total:
        return float("nan")
    p = np.clip(p, _CERTAIN, 1 - _CERTAIN)
    entropy = -(w * np.log(np.where(y, p, 1 - p))).sum()
    base = positive / total
    return float(entropy / -(positive * np.log(base) + (total - positive) * np.log(1 - base)))


def calibration_ratio(probabilities: Array, labels: Array, weights: Array | None = None) -> float:
    """Return the sum of predictions over the sum of labels.

    Args:
        probabilities: [N] in [0, 1].
        labels: [N] 0 or 1.
        weights: [N] 0 or more; 1 when left out.

    Returns:
        0 or more, 1 is right; NaN when no positive row has weight.

    Raises:
        ValueError: a value out of its range, or lengths that differ.

    Example::

        >>> calibration_ratio([0.5, 0.25], [1, 0])
        0.75
    """
    p, y, w = _rows(probabilities, labels, weights)
    positive = (w * y).sum()
    return float((w * p).sum() / positive) if positive > 0 else float("nan")


def _rows(
    probabilities: Array, labels: Array, weights: Array | None
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    p = as_floats(probabilities, "probabilities", minimum=0.0).astype(np.float64)
    y = as_array(labels, "labels")
    w = np.ones(len(p)) if weights is None else as_floats(weights, "weights", finite=True, minimum=0.0)
    if not len(p) == len(y) == len(w):
        raise ValueError(
            f"{len(p)} probabilities, {len(y)} labels and {len(w)} weights; as many of each are needed"
        )
    if (p > 1).any():
        raise ValueError(f"probabilities[{(p > 1).argmax()}] is {p[(p > 1).argmax()]}; at most 1 is allowed")
    bad = (y != 0) & (y != 1)
    if bad.any():
        raise ValueError(f"labels[{bad.argmax()}] is {y[bad.argmax()]}; only 0 and 1 are allowed")
    return p, y.astype(np.bool_), w.astype(np.float64)
