"""Ties: every exact formula against the mean over all orders of the candidates, one after the other."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.evaluation.metrics import RankMetric, ranking_metrics, request_metrics
from interactrank.evaluation.metrics.registry import METRICS, rank_metrics, register_metric
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates
from interactrank.evaluation.ties import TieGroups, has_ties, random_orders

KS = (1, 2, 3, 5)
REQUEST = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.0, 1.0, 2.5])), min_size=1, max_size=6
)


def mean_over_orders(request):
    """Metrics of one request, averaged over all its orders by score."""
    frames = []
    for order in permutations(request):
        ranked = sorted(order, key=lambda candidate: -candidate[0])  # stable: ties stay as permuted
        places = -np.arange(len(ranked), dtype=float)
        frames.append(ranking_metrics(places, [label for _, label in ranked], [len(ranked)], ks=KS))
    return {m: np.mean([frame[m][0] for frame in frames]) for m in names()}


def names():
    return [metric.column(k) for metric in rank_metrics() for k in metric.cut_offs(KS)]


def measured(requests):
    flat = [candidate for request in requests for candidate in request]
    lengths = [len(request) for request in requests]
    return ranking_metrics([float(s) for s, _ in flat], [label for _, label in flat], lengths, ks=KS)


@pytest.mark.slow
@given(REQUEST)
@settings(max_examples=60, deadline=None)
def test_expected_metrics__equal_the_mean_over_all_permutations(request_):
    frame = measured([request_])
    for name, expected in mean_over_orders(request_).items():
        assert frame[name][0] == pytest.approx(expected, abs=1e-12, nan_ok=True), name


@given(st.lists(REQUEST, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_expected_metrics__a_request_does_not_depend_on_those_around_it(requests):
    together = measured(requests)
    for row, request in enumerate(requests):
        alone = measured([request])
        for name in names():
            assert together[name][row] == pytest.approx(alone[name][0], abs=1e-13, nan_ok=True), name


@given(st.lists(REQUEST, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_expected_metrics__never_fall_below_the_pessimistic_ones(requests):
    frame = measured(requests)
    for name in names():
        worst = frame.get(f"{name}_pessimistic")
        assert worst is None or not (frame[name] < worst - 1e-12).any(), name


def test_without_ties__values_are_those_of_the_ranks_bit_for_bit():
    generator = np.random.default_rng(3)
    lengths = generator.integers(1, 30, 200)
    scores = generator.permutation(lengths.sum()).astype(float)
    frame = ranking_metrics(scores, generator.choice([0.0, 0.0, 1.0, 3.0], len(scores)), lengths, ks=KS)
    for name in names():
        if name != "auc":
            assert np.array_equal(frame[name], frame[f"{name}_pessimistic"], equal_nan=True), name


def test_with_some_ties__other_requests_keep_their_values_bit_for_bit():
    generator = np.random.default_rng(3)
    lengths = np.full(50, 20)
    scores = generator.permutation(1000).astype(float)
    labels = (generator.random(1000) < 0.2).astype(float)
    before = ranking_metrics(scores, labels, lengths, ks=KS)
    scores[:20] = 0
    after = ranking_metrics(scores, labels, lengths, ks=KS)
    for name in names():
        assert np.array_equal(before[name][1:], after[name][1:], equal_nan=True), name
    assert before["mrr"][0] != after["mrr"][0]


def test_has_ties__only_where_an_order_can_change_a_metric():
    # Tied with an irrelevant one | two relevant ones of one gain | of two gains | irrelevant ones only.
    scores = [1, 1, 1, 1, 1, 1, 1, 2, 2]
    labels = [1, 0, 1, 1, 1, 2, 1, 0, 0]
    ranks = ranks_of_candidates(np.array(scores, float), np.array(labels, float), [2, 2, 2, 3])
    assert has_ties(ranks).tolist() == [True, False, True, False]


def test_mean_reciprocal__many_tied_items_of_a_catalogue():
    # 2 relevant among 1,000 tied items behind 4 others: P(first at place x) = 2 (1000 - x) / (1000 * 999).
    rank = np.array([1003, 1004])
    ranks = RelevantRanks.from_pairs(candidates=[2000], request=[0, 0], rank=rank, tied=[998, 998])
    chances = [2 * (1000 - x) / (1000 * 999) for x in range(1, 1000)]
    expected = sum(chance / (4 + x) for x, chance in enumerate(chances, start=1))
    assert TieGroups(ranks).mean_reciprocal() == pytest.approx([expected], rel=1e-12)
    assert request_metrics(ranks, ks=[10])["mrr"] == pytest.approx([expected], rel=1e-12)


def test_from_pairs__relevant_ones_of_successive_ranks_are_tied_only_with_the_same_number_of_others():
    # Ranks 3 and 4 with two irrelevant ones tied: places 1..4. Rank 6 with one tied: places 5, 6.
    ranks = RelevantRanks.from_pairs(candidates=[9], request=[0] * 3, rank=[3, 4, 6], tied=[2, 2, 1])
    groups = TieGroups(ranks)
    assert groups.size.tolist() == [4, 2]
    assert groups.above.tolist() == [0, 4]
    untied = RelevantRanks.from_pairs(candidates=[9], request=[0, 0], rank=[3, 4])
    assert TieGroups(untied).size.tolist() == [1, 1]


def discounted(ranks, k):
    """DCG@k without normalisation."""
    gains = (ranks.rank <= k) * ranks.gain / np.log2(1 + ranks.rank)
    return np.bincount(ranks.request, weights=gains, minlength=ranks.num_requests)


@pytest.fixture
def own_metric():
    metric = register_metric(RankMetric(name="dcg", title="DCG", compute=discounted, ks=(3,)))
    yield metric
    METRICS.remove("dcg")


def test_random_orders__a_metric_without_a_formula_comes_close_to_its_mean(own_metric):
    # 400 requests with 2 relevant among 6 tied: each place counts its discount with chance 2/6.
    frame = ranking_metrics(np.zeros(2400), np.tile([1, 1, 0, 0, 0, 0], 400), [6] * 400, ks=[1])
    expected = (1 + 1 / np.log2(3) + 1 / 2) * 2 / 6
    assert frame["dcg@3"].mean() == pytest.approx(expected, rel=0.01)
    assert frame["dcg@3_pessimistic"].tolist() == [0.0] * 400


def test_random_orders__depend_on_the_key_of_a_request_alone(own_metric):
    scores, labels = np.zeros(60), np.tile([1, 0, 0, 1, 0], 12)
    ranks, keys = ranks_of_candidates(scores, labels, [5] * 12), np.arange(100, 112)
    whole = request_metrics(ranks, ks=[1], keys=keys)["dcg@3"]
    odd = np.arange(12) % 2 == 1
    part = request_metrics(ranks.take(odd), ks=[1], keys=keys[odd])["dcg@3"]
    assert np.array_equal(part, whole[odd])
    assert len(set(whole.tolist())) > 6


def test_random_orders__every_set_of_places_is_as_likely():
    ranks = ranks_of_candidates(np.zeros(4000), np.tile([1, 0, 1, 0], 1000), [4] * 1000)
    (order,) = random_orders(ranks, np.arange(1000), draws=1)
    pairs = order.rank.reshape(-1, 2)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    found = np.unique(pairs, axis=0, return_counts=True)
    assert found[0].tolist() == [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]]
    assert (abs(found[1] - 1000 / 6) < 5 * np.sqrt(1000 / 6)).all()
