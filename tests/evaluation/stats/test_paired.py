from itertools import product

import numpy as np
import pytest
from scipy import stats

from interactrank.evaluation.stats.paired import compare_paired


def test_p_value_against_every_sign_pattern():
    differences = np.array([0.5, 0.25, -0.25, 0.5, 0.75, 0.25, 0.0, -0.125])
    observed = abs(differences.sum())
    extreme = np.mean([abs(np.dot(signs, differences)) >= observed for signs in product([-1, 1], repeat=8)])
    first = {"x": np.ones(8) + differences}
    result = compare_paired(first, {"x": np.ones(8)}, permutations=40000)["x"]
    assert result.difference == pytest.approx(differences.mean())
    assert result.p_value == pytest.approx(extreme, abs=0.01)


def test_agrees_with_the_t_test_on_many_requests():
    generator = np.random.default_rng(0)
    second = generator.random(500)
    first = second + generator.normal(0.01, 0.1, 500)
    result = compare_paired({"x": first}, {"x": second})["x"]
    assert result.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.01)
    assert (result.low > 0) == (result.p_value < 0.05)


def test_equal_models_do_not_differ():
    values = np.random.default_rng(1).random(40)
    result = compare_paired({"x": values}, {"x": values.copy()})["x"]
    assert result[:4] == (0.0, 0.0, 0.0, 1.0)


def test_swapping_the_models_changes_the_sign_only():
    generator = np.random.default_rng(2)
    first, second = {"x": generator.random(60)}, {"x": generator.random(60)}
    there, back = compare_paired(first, second)["x"], compare_paired(second, first)["x"]
    assert there.p_value == back.p_value
    assert there.difference == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_users_as_units_make_a_lucky_user_less_convincing():
    users = np.repeat(np.arange(10), 30)
    first, second = {"x": (users < 6) * 1.0 + 0.0}, {"x": (users >= 6) * 1.0}  # 6 of 10 users for the first
    assert compare_paired(first, second)["x"].p_value < 0.01
    assert (
        compare_paired(first, second, clusters=users)["x"].p_value > 0.5
    )  # 2 P(Binomial(10, .5) >= 6) = .75


def test_only_requests_with_both_values_count():
    first = {"x": np.array([1.0, np.nan, 0.5]), "y": np.array([np.nan] * 3), "only": np.zeros(3)}
    second = {"x": np.array([0.5, 1.0, np.nan]), "y": np.array([1.0] * 3)}
    result = compare_paired(first, second)
    assert list(result) == ["x", "y"]
    assert (result["x"].difference, result["x"].requests) == (0.5, 1)
    assert result["y"].requests == 0
    assert np.isnan(result["y"].p_value)


def test_other_requests_are_refused():
    first = {"request_id": np.array(["a", "b"]), "x": np.zeros(2)}
    with pytest.raises(ValueError, match="row 0 is request a in one frame and b in the other; sort both"):
        compare_paired(first, {"request_id": np.array(["b", "a"]), "x": np.zeros(2)})
    with pytest.raises(ValueError, match="the frames hold 2 and 3 requests"):
        compare_paired(first, {"x": np.zeros(3)})
    with pytest.raises(KeyError, match="no metric named y"):
        compare_paired(first, first, ["y"])
    with pytest.raises(ValueError, match="permutations is 0"):
        compare_paired(first, first, permutations=0)
