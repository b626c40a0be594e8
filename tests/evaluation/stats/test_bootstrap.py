import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.evaluation.stats import bootstrap as intervals_module
from interactrank.evaluation.stats.bootstrap import bootstrap_intervals


def test_close_to_the_normal_interval():
    generator = np.random.default_rng(0)
    values = generator.random(4000)
    interval = bootstrap_intervals({"x": values}, resamples=4000)["x"]
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=half * 0.1)
    assert interval.high == pytest.approx(values.mean() + half, abs=half * 0.1)
    assert interval.requests == 4000


def test_covers_the_truth_about_as_often_as_promised():
    generator = np.random.default_rng(1)
    truth, trials = 0.3, 400
    table = {str(i): (generator.random(200) < truth).astype(float) for i in range(trials)}
    covered = [i.low <= truth <= i.high for i in bootstrap_intervals(table, resamples=1000).values()]
    assert 0.91 <= np.mean(covered) <= 0.98  # 95 % +- 3.5 standard errors of 400 trials


def test_undefined_requests_do_not_count():
    table = {"x": np.array([1.0, np.nan, 0.0, np.nan])}
    interval = bootstrap_intervals(table)["x"]
    assert (interval.value, interval.requests) == (0.5, 2)
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize("values", [[], [np.nan], [0.5], [0.5, np.nan]])
def test_fewer_than_two_values_have_no_interval(values):
    interval = bootstrap_intervals({"x": np.array(values, dtype=float)})["x"]
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.requests == np.isfinite(values).sum()


def test_clusters_widen_the_interval_but_keep_the_mean():
    generator = np.random.default_rng(2)
    per_user = generator.random(100)
    users = generator.integers(0, 100, 3000)
    table = {"x": per_user[users]}  # all requests of one user are equal
    rows, clustered = bootstrap_intervals(table)["x"], bootstrap_intervals(table, clusters=users)["x"]
    assert rows.value == clustered.value
    assert clustered.high - clustered.low > 3 * (rows.high - rows.low)  # sqrt(3000 / 100) = 5.5 expected


@pytest.mark.slow
def test_cluster_bootstrap_equals_a_slow_loop():
    generator = np.random.default_rng(3)
    users = np.array(["a", "c", "b", "a", "c", "a"])
    values = np.array([1.0, 0.5, np.nan, 0.25, 0.0, 0.75])
    means = []
    for _ in range(20000):
        drawn = [values[users == user] for user in generator.choice(["a", "b", "c"], 3)]
        drawn = np.concatenate(drawn)
        if np.isfinite(drawn).any():
            means.append(np.nanmean(drawn))
    interval = bootstrap_intervals({"x": values}, clusters=users, resamples=20000)["x"]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)


def test_one_cluster_per_request_is_the_plain_bootstrap():
    values = np.random.default_rng(4).random(50)
    assert bootstrap_intervals({"x": values}) == bootstrap_intervals({"x": values}, clusters=np.arange(50))


def test_draws_in_steps_change_nothing(monkeypatch):
    table = {"x": np.random.default_rng(5).random(30)}
    whole = bootstrap_intervals(table, resamples=200)
    monkeypatch.setattr(intervals_module, "_DRAWS", 7 * 30)
    assert bootstrap_intervals(table, resamples=200) == whole


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, float("nan")]), min_size=1, max_size=20), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_same_seed_gives_the_same_interval_around_the_value(values, seed):
    table = {"x": np.array(values), "other": np.arange(len(values), dtype=float)}
    first = bootstrap_intervals(table, ["x"], resamples=100, seed=seed)["x"]
    assert repr(first) == repr(bootstrap_intervals(table, resamples=100, seed=seed)["x"])
    if first.requests > 1:
        assert np.nanmin(values) <= first.low <= first.high <= np.nanmax(values)


def test_what_is_refused():
    table = {"x": np.zeros(3)}
    with pytest.raises(ValueError, match="confidence is 95; a share"):
        bootstrap_intervals(table, confidence=95)
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_intervals(table, resamples=0)
    with pytest.raises(ValueError, match="clusters has 2 entries but the frame has 3 requests"):
        bootstrap_intervals(table, clusters=np.zeros(2))
    with pytest.raises(KeyError, match="no metric named y in the frame; it has x"):
        bootstrap_intervals(table, ["y"])
