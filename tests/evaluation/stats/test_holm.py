"""Holm's correction, by hand and against its definition."""

import math

import numpy as np
import pytest

from interactrank.evaluation.stats.holm import holm


def test_by_hand():
    """Four tests in order: 0.005 * 4 = 0.02, 0.01 * 3 = 0.03, 0.03 * 2 = 0.06; 0.04 * 1 is raised to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_none_is_above_one():
    assert holm([0.5, 0.6, 0.9]) == [1.0, 1.0, 1.0]


def test_one_test_stays_as_it_is_and_none_is_none():
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_a_test_that_could_not_be_made_does_not_count():
    first, missing, last = holm([0.01, math.nan, 0.02])
    assert math.isnan(missing)
    assert [first, last] == [0.02, 0.02]  # 0.01 * 2, 0.02 * 1


@pytest.mark.parametrize("p", [-0.1, 1.1, math.inf])
def test_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="is not a p-value"):
        holm([0.5, p])


def test_it_rejects_what_the_step_down_procedure_rejects():
    """Holm 1979: go up from the smallest p; stop at the first that is above level / (tests left)."""
    random = np.random.default_rng(0)
    for _ in range(200):
        p = np.round(random.random(6) ** 4, 3)
        rejected = set()
        for rank, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] * (6 - rank) > 0.05:
                break
            rejected.add(i)
        assert {i for i, corrected in enumerate(holm(p.tolist())) if corrected <= 0.05} == rejected
