"""Estimates against the stopwatch: the arithmetic of the page, and which plans are drawn."""

from __future__ import annotations

import pytest

from benchmarks.plan_order import PLANS, drawn_plans, messages_of, spearman
from interactrank.training.settings import TrainingSettings


def test_rank_correlation_by_hand() -> None:
    # Differences of ranks 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15).
    assert spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(1 - 12 / 60)
    assert spearman([1, 2, 3], [9, 5, 1]) == pytest.approx(-1)


def test_messages_are_added_up() -> None:
    found = {"messages/all_to_all": 3.0, "messages/all_to_all_bytes": 40.0}
    found |= {"messages/all_reduce": 1.0, "messages/all_reduce_bytes": 8.0}
    assert messages_of(found) == (4, 48.0, "3 all_to_all, 1 all_reduce")


def test_plans_are_the_planners_own_and_others_without_repetition() -> None:
    plans = drawn_plans(PLANS)
    assert plans[0] == {}
    assert len({tuple(plan.items()) for plan in plans}) == PLANS
    for plan in plans[1:]:
        TrainingSettings.model_validate({"sharding": {t: {"types": [kind]} for t, kind in plan.items()}})
