"""95 % bootstrap intervals of the mean of every metric of a request frame.

The unit that is resampled is the request, or the user where requests of one user resemble each other (cluster
bootstrap: whole users are drawn, with all their requests). Percentile intervals (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13). All metrics share the draws, and the same seed gives the
same interval for the same frame.

Cost: resamples x units random draws, a few seconds per 100 million; memory is constant.

Shapes: R requests, U units (requests or users), M metrics, B resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.metric_frame import metric_columns, metric_matrix, num_requests

__all__ = ["Interval", "bootstrap_intervals", "mean_values"]

_DRAWS = 1 << 22  # random draws held at once


class Interval(NamedTuple):
    """A mean with its confidence interval.

    Attributes:
        value: the mean over the requests for which the metric is defined; NaN where there is none.
        low: the lower bound; NaN with fewer than two units, where nothing can be said.
        high: the upper bound.
        requests: how many requests have a value.
    """

    value: float
    low: float
    high: float
    requests: int


def bootstrap_intervals(
    frame: Mapping[str, NDArray[Any]],
    metrics: Sequence[str] | None = None,
    *,
    clusters: NDArray[Any] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the mean of every metric with its bootstrap interval.

    Args:
        frame: per-request frame of R rows; NaN where a metric is not defined.
        metrics: M names; all when left out.
        clusters: [R] the user of each request (any type), to resample users instead of requests. The value
            stays the mean over requests.
        resamples: B.
        confidence: of the interval, within (0, 1).
        seed: of the draws.

    Returns:
        ``{metric: Interval}``.

    Raises:
        KeyError: a metric that the frame does not have.
        ValueError: resamples below 1, a confidence outside (0, 1), clusters of another length.

    Example::

        >>> frame = {"mrr": np.array([1.0, 0.5, 0.25, np.nan])}
        >>> bootstrap_intervals(frame)["mrr"]
        Interval(value=0.5833333333333334, low=0.25, high=1.0, requests=3)
    """
    check_resampling(resamples, confidence)
    names = metric_columns(frame, metrics)
    values = metric_matrix(frame, names)
    sums, counts = sum_by_unit(values, clusters, num_requests(frame))
    drawn = [(weight @ sums, weight @ counts) for weight in _draw_units(len(sums), resamples, seed)]
    tail = (1 - confidence) / 2
    intervals = {}
    for column, name in enumerate(names):
        requests = int(counts[:, column].sum())
        value = float(sums[:, column].sum() / requests) if requests else float("nan")
        low = high = float("nan")
        if (counts[:, column] > 0).sum() > 1:
            total = np.concatenate([part[:, column] for part, _ in drawn])
            number = np.concatenate([part[:, column] for _, part in drawn])
            low, high = np.quantile(total[number > 0] / number[number > 0], [tail, 1 - tail])
        intervals[name] = Interval(value, float(low), float(high), requests)
    return intervals


def mean_values(frame: Mapping[str, NDArray[Any]], metrics: Sequence[str]) -> dict[str, float]:
    """Return the means alone, to the digit those of :func:`bootstrap_intervals`.

    Args:
        frame: per-request frame; NaN where a metric is not defined.
        metrics: names.

    Returns:
        ``{metric: mean}``; NaN if no request has a value.

    Example::

        >>> mean_values({"mrr": np.array([1.0, 0.5, np.nan])}, ["mrr"])
        {'mrr': 0.75}
    """
    sums, counts = sum_by_unit(metric_matrix(frame, metrics), None, num_requests(frame))
    return {
        name: float(sums[:, column].sum() / total) if (total := counts[:, column].sum()) else float("nan")
        for column, name in enumerate(metrics)
    }


def check_resampling(resamples: int, confidence: float) -> None:
    """Refuse settings that make no interval.

    Args:
        resamples: at least 1.
        confidence: within (0, 1).

    Raises:
        ValueError: one of them is not.

    Example::

        >>> check_resampling(2000, 95)
        Traceback (most recent call last):
            ...
        ValueError: confidence is 95; a share within (0, 1) is needed, such as 0.95
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; at least 1 is needed")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; a share within (0, 1) is needed, such as 0.95")


def sum_by_unit(
    values: NDArray[np.float64], clusters: NDArray[Any] | None, requests: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sums and numbers of the defined values of each unit.

    Args:
        values: [R, M], NaN where undefined.
        clusters: [R] user of each request, or None: every request is a unit.
        requests: R.

    Returns:
        ([U, M] sums, [U, M] numbers of values).

    Raises:
        ValueError: clusters of another length than R.

    Example::

        >>> sum_by_unit(np.array([[1.0], [np.nan], [3.0]]), np.array(["a", "b", "a"]), 3)
        (array([[4.],
               [0.]]), array([[2.],
               [0.]]))
    """
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    if clusters is None:
        return filled, defined.astype(np.float64)
    if len(clusters) != requests:
        raise ValueError(f"clusters has {len(clusters)} entries but the frame has {requests} requests")
    distinct, unit = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(distinct), values.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, unit, filled)
    np.add.at(counts, unit, defined)
    return sums, counts


def _draw_units(units: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each unit is drawn, [b, U] at a time, until there are ``resamples`` rows."""
    generator = np.random.default_rng(seed)
    step = max(1, _DRAWS // max(1, units))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(max(1, units), size=(rows, units))
        drawn += np.arange(rows)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
