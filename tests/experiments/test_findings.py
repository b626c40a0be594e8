"""The paper's findings and the pair of models that tests each."""

import math

import pytest

from interactrank.experiments.findings import claims, verdict
from interactrank.experiments.variants import ablation_grid, select
from interactrank.runs.config import RunConfig, load_config
from tests.experiments.test_variants import SHIPPED
from tests.trained import config


def pairs(base: RunConfig, *only: str) -> list[tuple[str | None, str | None]]:
    return [(c.first, c.other) for c in claims(base, select(ablation_grid(base), only))]


def test_each_claim_is_named_once():
    texts = [c.text for c in claims(config(), ablation_grid(config()))]
    assert len(set(texts)) == len(texts) == 8


def test_parts_that_the_config_uses_are_tested_by_leaving_them_out():
    assert pairs(load_config(SHIPPED["demo"])) == [
        ("full", "bm25"),
        ("full", "plain_two_tower"),
        ("plain_two_tower", "bm25"),
        ("full", "full_without_sequence"),
        ("full", "full_without_iqp"),
        ("full", "full_without_sampled_softmax"),
        ("full", "full_without_log_q"),
        ("full", "full_without_mask_net"),
    ]


def test_parts_that_it_does_not_use_are_tested_by_adding_them():
    assert pairs(load_config(SHIPPED["bestbuy"]))[3:] == [
        (None, None),  # users come once: no sequence
        ("full", "full_without_iqp"),
        ("full_with_log_q", "full"),
        ("full_with_log_q", "full_with_sampled_softmax"),
        ("full_with_mask_net", "full"),
    ]


def test_a_model_that_stands_under_another_name():
    """Last.fm uses no lexical features: without IQP it is the two-tower with sequence and softmax."""
    assert pairs(load_config(SHIPPED["lastfm"]))[4] == ("full", "plus_log_q")


def test_log_q_where_the_softmax_is_the_only_loss():
    base = config("model.loss={pointwise_weight: 0, listwise_weight: 0, sampled_softmax_weight: 1}")
    assert pairs(base)[5:7] == [(None, None), ("full", "full_without_log_q")]


def test_softmax_with_log_q_where_the_config_uses_it_without():
    assert pairs(config("model.loss.log_q=false"))[5:7] == [
        ("full_with_log_q", "full_without_sampled_softmax"),
        ("full_with_log_q", "full"),
    ]


def test_dcn_says_nothing_about_mask_net():
    base = config("model.request_tower.crossing=dcn", "model.item_tower.crossing=dcn")
    assert pairs(base)[7] == (None, None)


def test_models_that_are_not_there():
    assert pairs(load_config(SHIPPED["demo"]), "full", "plain_two_tower", "full_without_iqp") == [
        (None, None), ("full", "plain_two_tower"), (None, None), (None, None),
        ("full", "full_without_iqp"), (None, None), (None, None), (None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "p", "seeds", "expected"),
    [
        (0.01, 0.03, 0.01, [0.02, 0.02], "agrees"),
        (-0.03, -0.01, 0.01, [-0.02, -0.02], "disagrees"),
        (0.01, 0.03, 0.01, [], "agrees"),  # the models have no seed in common
        (-0.01, 0.03, 0.3, [0.01, 0.01], "no difference shown"),
        (0.01, 0.03, 0.06, [0.02, 0.02], "no difference shown"),  # shown alone, but not among so many tests
        (0.0, 0.03, 0.01, [0.02, 0.02], "no difference shown"),
        (0.01, 0.03, 0.01, [0.05, -0.01], "no difference shown"),  # seeds differ more than the models
        (-0.03, -0.01, 0.01, [-0.05, 0.01], "no difference shown"),
        (None, None, None, [0.02], "no difference shown"),
        (None, None, math.nan, [0.02], "no difference shown"),
    ],
)
def test_verdicts(low, high, p, seeds, expected):
    assert verdict({"low": low, "high": high, "p_holm": p, "seeds": seeds}) == expected


def test_no_verdict_without_a_test():
    assert verdict(None) == "not tested"
