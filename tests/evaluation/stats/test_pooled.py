"""Metrics of all predictions together: their intervals are those of whole requests or users."""

import numpy as np
import pytest

from interactrank.evaluation.metrics import METRICS, probability_metrics
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.stats import pooled

NAMES = ["ne", "calibration", "pr_auc"]


def predictions(requests=40, width=5, seed=0):
    generator = np.random.default_rng(seed)
    probability = generator.random(requests * width)
    label = generator.random(requests * width) < probability
    return Predictions(np.repeat(np.arange(requests), width), probability, label)


def test_value__is_that_of_all_rows_and_within_its_interval():
    found = pooled.pooled_intervals(predictions(), probability_metrics(), resamples=200)
    assert list(found) == NAMES
    for name, interval in found.items():
        assert interval.value == METRICS[name].compute(predictions(), None)
        assert interval.low < interval.value < interval.high
        assert interval.requests == 40
    assert found == pooled.pooled_intervals(predictions(), probability_metrics(), resamples=200)


def test_resample__equals_rows_that_stand_there_as_often():
    # Request 0 twice, request 1 never: weights 2 and 0 give what the doubled rows give.
    whole = predictions(requests=2)
    doubled = Predictions(
        np.zeros(10, np.int64), np.tile(whole.probability[:5], 2), np.tile(whole.label[:5], 2)
    )
    for metric in probability_metrics():
        weighted = metric.compute(whole, np.repeat([2.0, 0.0], 5))
        assert weighted == pytest.approx(metric.compute(doubled, None), nan_ok=True), metric.name


def test_clusters__draw_users_and_make_intervals_wider():
    # Ten users whose four requests each are the same: 10 units instead of 40.
    base = predictions(requests=10)
    rows = np.tile(np.arange(50), 4)
    same = Predictions(np.repeat(np.arange(40), 5), base.probability[rows], base.label[rows])
    users = np.tile(np.arange(10), 4)
    by_request = pooled.pooled_intervals(same, [METRICS["ne"]], resamples=400)["ne"]
    by_user = pooled.pooled_intervals(same, [METRICS["ne"]], clusters=users, resamples=400)["ne"]
    assert by_user.value == by_request.value
    assert by_user.high - by_user.low > 1.4 * (by_request.high - by_request.low)


def test_many_candidates__have_fewer_draws_and_then_no_interval(monkeypatch):
    monkeypatch.setattr(pooled, "_BUDGET", 200 * 60)
    assert not np.isnan(pooled.pooled_intervals(predictions(), [METRICS["ne"]])["ne"].low)
    monkeypatch.setattr(pooled, "_BUDGET", 200 * 49)
    found = pooled.pooled_intervals(predictions(), [METRICS["ne"]])["ne"]
    assert np.isnan([found.low, found.high]).all()
    assert found.value > 0


def test_nothing__is_nan():
    empty = Predictions(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool))
    found = pooled.pooled_intervals(empty, probability_metrics())
    assert all(np.isnan(interval.value) and interval.requests == 0 for interval in found.values())
