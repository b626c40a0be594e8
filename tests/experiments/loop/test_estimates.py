"""Intervals of the closed loop against scipy, a bootstrap over users, and repeated experiments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interactrank.evaluation.stats.bootstrap import bootstrap_intervals
from interactrank.experiments.loop.estimates import (
    Estimate,
    lift_of_groups,
    lift_on_same_requests,
    mean_by_user,
)


def sample(seed: int, users: int, lift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Engagements of requests; those of one user resemble each other, and some users search more."""
    rng = np.random.default_rng(seed)
    requests = rng.geometric(0.2, size=users)
    user = np.repeat(np.arange(users), requests)
    level = rng.gamma(4.0, 0.3, size=users)[user] * (1 + lift)
    return rng.poisson(level).astype(np.float64), user


def test_mean_of_one_request_a_user_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, size=400)
    found = mean_by_user(values, np.arange(400))
    low, high = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert found == pytest.approx((values.mean(), low, high))


def test_mean_by_hand() -> None:
    # User 0 has 1 and 3, user 1 has 5: sums 4 and 5, mean 3; residuals 4 - 6 = -2 and 5 - 3 = 2;
    # variance 2 / 1 * (4 + 4) / 3^2 = 16 / 9, deviation 4 / 3
    found = mean_by_user(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]))
    assert found == pytest.approx((3.0, 3 - 1.959964 * 4 / 3, 3 + 1.959964 * 4 / 3))


def test_mean_is_near_the_bootstrap_over_users() -> None:
    values, user = sample(1, users=600)
    found = mean_by_user(values, user)
    drawn = bootstrap_intervals({"x": values}, clusters=user, resamples=4000)["x"]
    assert found.value == pytest.approx(drawn.value)
    width = drawn.high - drawn.low
    assert found.low == pytest.approx(drawn.low, abs=0.07 * width)
    assert found.high == pytest.approx(drawn.high, abs=0.07 * width)
    apart = mean_by_user(values, np.arange(len(values)))  # as if requests were independent: too narrow
    assert apart.high - apart.low < 0.9 * width


def quantiles(draws: list[float]) -> tuple[float, float]:
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def totals(values: np.ndarray, user: np.ndarray) -> np.ndarray:
    return np.bincount(user, values)


def test_lifts_are_near_the_bootstrap_over_users() -> None:
    rng = np.random.default_rng(2)
    base, user = sample(3, users=500)
    values = base * 1.05 + rng.normal(0, 0.3, size=len(base))
    other, other_user = sample(4, users=500, lift=0.2)
    a, b, n = totals(values, user), totals(base, user), totals(np.ones(len(user)), user)
    c, m = totals(other, other_user), totals(np.ones(len(other_user)), other_user)
    same, groups = [], []
    for _ in range(4000):
        first, second = rng.integers(500, size=500), rng.integers(500, size=500)
        same.append(a[first].sum() / b[first].sum() - 1)
        groups.append(c[second].sum() / m[second].sum() / (b[first].sum() / n[first].sum()) - 1)
    for found, draws in (
        (lift_on_same_requests(values, base, user), same),
        (lift_of_groups(other, other_user, base, user), groups),
    ):
        low, high = quantiles(draws)
        assert found.low == pytest.approx(low, abs=0.1 * (high - low))
        assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(400):
        values, user = sample(2 * seed, users=150, lift=0.1)
        base, base_user = sample(2 * seed + 1, users=150)
        found = lift_of_groups(values, user, base, base_user)
        held += found.low <= 0.1 <= found.high
    # 380 of 400 are expected, deviation 4.4
    assert 362 <= held <= 396


def test_arms_that_rank_alike_have_no_lift_and_no_doubt() -> None:
    values, user = sample(5, users=50)
    assert lift_on_same_requests(values, values, user) == pytest.approx((0.0, 0.0, 0.0))


def test_one_user_says_nothing_of_others() -> None:
    found = mean_by_user(np.array([1.0, 2.0]), np.array([4, 4]))
    assert found.value == 1.5
    assert np.isnan(found.low)
    assert isinstance(found, Estimate)
