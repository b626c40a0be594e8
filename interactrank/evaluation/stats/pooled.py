"""Metrics of all predictions together, with bootstrap intervals over whole requests or users.

Normalised entropy, calibration and the like are not means over requests: each resample is measured as a
whole, every request with the weight of how often it was drawn.

Shapes: C candidates, R requests, U units (requests or users).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.metrics.registry import ProbabilityMetric
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.stats.bootstrap import Interval, check_resampling

__all__ = ["pooled_intervals"]

_BUDGET = 5_000_000  # candidates measured for the intervals of a metric, all resamples together
_FEWEST = 50  # resamples below which there is no interval


def pooled_intervals(
    predictions: Predictions,
    metrics: Sequence[ProbabilityMetric],
    *,
    clusters: NDArray[Any] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Measure predictions, with bootstrap intervals.

    Args:
        predictions: of C candidates.
        metrics: the metrics to compute.
        clusters: the user of each request of the split, by its row, to draw users instead of requests.
        resamples: at most; fewer for many candidates, and none (intervals are then NaN) for more than
            100,000.
        confidence: of the intervals.
        seed: of the draws.

    Returns:
        ``{metric: Interval}``; ``requests`` counts those with a candidate.

    Raises:
        ValueError: resamples below 1, or a confidence outside (0, 1).

    Example::

        >>> from interactrank.evaluation.metrics import METRICS
        >>> request, label = np.array([0, 0, 1, 1]), np.array([True, False, True, False])
        >>> predictions = Predictions(request, np.array([0.5, 0.5, 0.5, 0.5]), label)
        >>> pooled_intervals(predictions, [METRICS["ne"]])["ne"]
        Interval(value=1.0, low=1.0, high=1.0, requests=2)
    """
    check_resampling(resamples, confidence)
    distinct, request = np.unique(predictions.request, return_inverse=True)
    unit = request if clusters is None else np.unique(clusters[distinct], return_inverse=True)[1][request]
    units = int(unit.max(initial=-1)) + 1
    draws = min(resamples, _BUDGET // max(1, len(predictions)))
    values: dict[str, list[float]] = {metric.name: [] for metric in metrics}
    if draws >= _FEWEST and units > 1:
        generator = np.random.default_rng(seed)
        for _ in range(draws):
            drawn = np.bincount(generator.integers(units, size=units), minlength=units)
            weights = drawn[unit].astype(np.float64)
            for metric in metrics:
                values[metric.name].append(metric.compute(predictions, weights))
    tail = (1 - confidence) / 2
    intervals = {}
    for metric in metrics:
        found = np.array(values[metric.name])
        found = found[~np.isnan(found)]
        low, high = np.quantile(found, [tail, 1 - tail]) if len(found) else (np.nan, np.nan)
        value = float(metric.compute(predictions, None))
        intervals[metric.name] = Interval(value, float(low), float(high), len(distinct))
    return intervals
