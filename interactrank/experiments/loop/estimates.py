"""Engagement of an arm, and its lift over another, with 95 % intervals clustered by user.

The delta method for ratios (Deng, Knoblich and Lu, Applying the Delta Method in Metric Analytics, KDD 2018):
users are the independent units, the metric is a mean over requests. A ratio of sums is, to first order, its
value plus a mean over users of their residuals, whose variance gives the interval.

Shapes: R requests, U users.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Estimate", "lift_of_groups", "lift_on_same_requests", "mean_by_user"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_Z = NormalDist().inv_cdf(0.975)


class Estimate(NamedTuple):
    """A number with its 95 % interval, which is NaN where one user alone says nothing of it."""

    value: float
    low: float
    high: float


def mean_by_user(values: Floats, users: Ints) -> Estimate:
    """Return the mean over requests.

    Args:
        values: [R] at least one.
        users: [R] of each request.

    Example::

        >>> mean_by_user(np.array([1.0, 3.0]), np.array([0, 1])).value
        2.0
    """
    sums, counts = _sums(users, values, np.ones(len(values)))
    return _interval(*_ratio(sums, counts))


def lift_on_same_requests(values: Floats, base: Floats, users: Ints) -> Estimate:
    """Return how much more one arm gets than another on the same requests, as a share of the other's.

    Args:
        values: [R] of the arm.
        base: [R] of the other, of the same requests.
        users: [R] of each request.

    Example::

        >>> lift_on_same_requests(np.array([1.5, 3.0]), np.array([1.0, 2.0]), np.array([0, 1])).value
        0.5
    """
    ratio, deviation = _ratio(*_sums(users, values, base))
    return _interval(ratio - 1, deviation)


def lift_of_groups(values: Floats, users: Ints, base: Floats, base_users: Ints) -> Estimate:
    """Return how much more one group of users gets than another group, as a share of the other's.

    Args:
        values: [R] of one group's requests.
        users: [R] theirs.
        base: of the other group's requests.
        base_users: theirs.
    """
    mean, deviation = _ratio(*_sums(users, values, np.ones(len(values))))
    other, of_other = _ratio(*_sums(base_users, base, np.ones(len(base))))
    # The groups are independent: squares of relative deviations add up.
    relative = np.hypot(deviation / mean, of_other / other)
    return _interval(mean / other - 1, mean / other * relative)


def _sums(users: Ints, *values: Floats) -> tuple[Floats, ...]:
    """Return the sums of each user, [U]."""
    _, unit = np.unique(users, return_inverse=True)
    return tuple(np.bincount(unit, of).astype(np.float64) for of in values)


def _ratio(above: Floats, below: Floats) -> tuple[float, float]:
    """Return the ratio of the sums of [U] and its standard deviation, NaN for one user."""
    units, ratio = len(above), float(above.sum() / below.sum())
    if units < 2:
        return ratio, float("nan")
    residuals = above - ratio * below
    variance = units / (units - 1) * float(residuals @ residuals) / float(below.sum()) ** 2
    return ratio, variance**0.5


def _interval(value: float, deviation: float) -> Estimate:
    return Estimate(value, value - _Z * deviation, value + _Z * deviation)
