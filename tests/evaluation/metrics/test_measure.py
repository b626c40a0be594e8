import ir_measures
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, R, Success, nDCG
from sklearn.metrics import ndcg_score, roc_auc_score

from interactrank.evaluation.corpus_ranks import ranks_of_relevant
from interactrank.evaluation.metric_frame import concatenate_frames
from interactrank.evaluation.metrics import ranking_metrics, request_auc, request_metrics
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates

KS = (1, 3, 5)


def random_requests(seed, requests=40, ties=False):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 12, requests)
    labels = (generator.random(lengths.sum()) < 0.25).astype(np.float32)
    scores = generator.permutation(lengths.sum()).astype(np.float64)
    return (np.floor(scores / 20) if ties else scores), labels, lengths


def test_by_hand():
    # Scores .9 .8 .7 .6 .5 with relevant ranks 2 and 5 of five candidates, three of them irrelevant.
    table = ranking_metrics([0.5, 0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0, 0], [5], ks=[1, 3, 5])
    assert table["rank_of_first_relevant"].tolist() == [2]
    assert table["mrr"].tolist() == [0.5]
    assert table["map"] == pytest.approx([(1 / 2 + 2 / 5) / 2])
    assert [table[f"hit@{k}"][0] for k in KS] == [0, 1, 1]
    assert [table[f"recall@{k}"][0] for k in KS] == [0, 0.5, 1]
    # DCG@3 = 1/log2(3); ideal = 1/log2(2) + 1/log2(3)
    assert table["ndcg@3"] == pytest.approx([(1 / np.log2(3)) / (1 + 1 / np.log2(3))])
    assert table["auc"] == pytest.approx([2 / 6])  # rank 2 beats two of three, rank 5 none
    assert table["auc_pairs"].tolist() == [6]


def test_graded_gains_are_linear():
    # Order by score: gains 1, 3. DCG@2 = 1/1 + 3/log2(3); ideal = 3/1 + 1/log2(3).
    table = ranking_metrics([0.9, 0.8, 0.1], [1, 3, 0], [3], ks=[2])
    assert table["ndcg@2"] == pytest.approx([(1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3))])


def test_undefined_values_are_nan_and_counted_apart():
    # Nothing relevant | nothing irrelevant | no candidate
    table = ranking_metrics([0.1, 0.2, 0.3], [0, 0, 1], [2, 1, 0], ks=[1])
    assert np.isnan(table["mrr"]).tolist() == [True, False, True]
    assert np.isnan(table["hit@1"]).tolist() == [True, False, True]
    assert np.isnan(table["ndcg@1"]).tolist() == [True, False, True]
    assert np.isnan(table["auc"]).all()
    assert table["relevant"].tolist() == [0, 1, 0]
    assert table["candidates"].tolist() == [2, 1, 0]


def test_ties__a_constant_scorer_gets_what_a_random_order_gets_and_the_worst_beside_it():
    labels = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    frame = ranking_metrics(np.zeros(10), labels, [10], ks=[1, 3, 9])
    # The relevant one is at each of ten ranks alike: H(10) / 10, 9 / 10, (1 + 1/log2(3) + 1/2) / 10.
    assert frame["mrr"] == pytest.approx([sum(1 / r for r in range(1, 11)) / 10])
    assert frame["hit@9"] == pytest.approx([0.9])
    assert frame["recall@3"] == pytest.approx([0.3])
    assert frame["ndcg@3"] == pytest.approx([(1 + 1 / np.log2(3) + 1 / 2) / 10])
    assert frame["auc"].tolist() == [0.5]
    assert frame["mrr_pessimistic"].tolist() == [0.1]
    assert frame["hit@9_pessimistic"].tolist() == [0.0]
    assert frame["ndcg@3_pessimistic"].tolist() == [0.0]
    assert "auc_pessimistic" not in frame


@pytest.mark.parametrize("seed", range(4))
def test_against_ir_measures(seed):
    scores, labels, lengths = random_requests(seed)
    starts = np.cumsum(lengths) - lengths
    qrels, run = {}, {}
    for request, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        rows = range(start, start + length)
        if labels[start : start + length].sum():
            qrels[str(request)] = {str(c): int(labels[c]) for c in rows}
            run[str(request)] = {str(c): float(scores[c]) for c in rows}
    measures = {"map": AP, "mrr": RR}
    for k in KS:
        measures |= {f"hit@{k}": Success @ k, f"recall@{k}": R @ k, f"ndcg@{k}": nDCG @ k}
    expected = {
        (metric.query_id, str(metric.measure)): metric.value
        for metric in ir_measures.iter_calc(list(measures.values()), qrels, run)
    }
    table = ranking_metrics(
        torch.from_numpy(scores), torch.from_numpy(labels), torch.from_numpy(lengths), ks=KS
    )
    checked = 0
    for request in qrels:
        for name, measure in measures.items():
            assert table[name][int(request)] == pytest.approx(expected[request, str(measure)], abs=1e-9), name
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("seed", range(3))
def test_auc_and_graded_ndcg_against_scikit_learn(seed):
    scores, _, lengths = random_requests(seed, ties=True)
    generator = np.random.default_rng(seed)
    labels = generator.choice([0.0, 0.0, 1.0, 2.5], len(scores))
    distinct = scores + generator.permutation(len(scores)) * 1e-4
    tied, untied = (
        ranking_metrics(scores, labels, lengths),
        ranking_metrics(distinct, labels, lengths, ks=[5]),
    )
    checked = 0
    for request, (end, length) in enumerate(zip(np.cumsum(lengths), lengths, strict=True)):
        rows = slice(end - length, end)
        relevant = labels[rows] > 0
        if length > 1 and 0 < relevant.sum() < length:
            assert tied["auc"][request] == pytest.approx(roc_auc_score(relevant, scores[rows]))
            assert untied["ndcg@5"][request] == pytest.approx(
                ndcg_score([labels[rows]], [distinct[rows]], k=5)
            )
            checked += 1
    assert checked > 10


def test_logged_candidates_and_full_corpus_give_the_same_table():
    generator = np.random.default_rng(5)
    scores = generator.integers(0, 6, (8, 11)).astype(np.float32)
    labels = (generator.random((8, 11)) < 0.2).astype(np.float32)
    chunks = [
        request_metrics(ranks_of_relevant(scores[rows], np.nonzero(labels[rows])), ks=KS)
        for rows in (slice(0, 3), slice(3, 3), slice(3, 8))
    ]
    full = concatenate_frames(chunks)
    logged = ranking_metrics(scores.ravel(), labels.ravel(), [11] * 8, ks=KS)
    assert list(full) == list(logged)
    for name in full:
        assert np.array_equal(full[name], logged[name], equal_nan=logged[name].dtype.kind == "f"), name


def test_tie_credit():
    ranks = ranks_of_candidates([0.5, 0.5, 0.1], [1, 0, 0], [3])
    assert request_auc(ranks)[0].tolist() == [0.75]  # (1/2 + 1) / 2
    assert request_auc(ranks, tie_credit=0.0)[0].tolist() == [0.5]


def test_a_cut_off_below_one_is_refused():
    with pytest.raises(ValueError, match="cut-off 0 is not allowed"):
        request_metrics(RelevantRanks.from_pairs(candidates=[1], request=[0], rank=[1]), ks=[3, 0])


REQUESTS = st.lists(
    st.lists(st.tuples(st.integers(-2, 2), st.booleans()), max_size=7), min_size=1, max_size=7
)


def table_of(requests):
    flat = [pair for request in requests for pair in request]
    return ranking_metrics(
        np.array([float(s) for s, _ in flat]), [float(y) for _, y in flat], [len(r) for r in requests], ks=KS
    )


def assert_same(first, second):
    for name in first:
        assert np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f"), name


@given(REQUESTS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_permuting_candidates_within_a_request_changes_nothing(requests, random):
    assert_same(table_of(requests), table_of([random.sample(request, len(request)) for request in requests]))


@given(REQUESTS, st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_splitting_the_batch_of_requests_changes_nothing(requests, cut):
    parts = concatenate_frames([table_of(requests[:cut]), table_of(requests[cut:])])
    assert_same(table_of(requests), parts)


@given(REQUESTS)
@settings(max_examples=100, deadline=None)
def test_metrics_are_in_range_grow_with_k_and_do_not_care_for_monotone_scores(requests):
    table = table_of(requests)
    for name, column in table.items():
        if column.dtype.kind == "f" and name != "rank_of_first_relevant":
            assert ((column >= 0) & (column <= 1 + 1e-12) | np.isnan(column)).all(), name
    for metric in ("hit", "recall"):
        assert not (table[f"{metric}@1"] > table[f"{metric}@3"]).any()
    assert_same(table, table_of([[(s**3 + 5 * s, y) for s, y in request] for request in requests]))
