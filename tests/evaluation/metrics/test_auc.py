import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from interactrank.evaluation.metrics.auc import pr_auc, request_level_auc, roc_auc
from tests.evaluation.golden import golden_case


def windowed_estimate(request_id, score, label, block=1024):
    """The reference's estimate: pairs of one request inside blocks of consecutive rows, ties counting 0."""
    right = pairs = 0
    for start in range(0, len(score), block):
        rows = slice(start, start + block)
        r, s, y = request_id[rows], score[rows], label[rows]
        valid = (r[:, None] == r) & (y[:, None] > y)
        right += (valid & (s[:, None] > s)).sum()
        pairs += valid.sum()
    return right / pairs


def test_by_hand():
    # Positives .9 and .5, negatives .5 and .1: .9 beats both, .5 ties once (1/2) and beats once.
    assert roc_auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == (2 + 1.5) / 4
    # Weights 2 for .9 and 3 for the negative .5: (2*3 + 2*1 + 1*3/2 + 1*1) / (3 * 4)
    assert roc_auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], [2, 1, 3, 1]) == pytest.approx(10.5 / 12)
    # At .9 precision 1 for half of the positives; at .5 (both rows enter together) 2/3 for the other half.
    assert pr_auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == pytest.approx((1 + 2 / 3) / 2)


@given(
    st.lists(
        st.tuples(st.integers(-4, 4), st.booleans(), st.sampled_from([0.5, 1.0, 7.0])),
        min_size=2,
        max_size=40,
    )
)
@settings(max_examples=150, deadline=None)
def test_equals_scikit_learn_with_ties_and_weights(rows):
    scores, labels, weights = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    if labels.sum():
        expected = average_precision_score(labels, scores, sample_weight=weights)
        assert pr_auc(scores, labels, weights) == pytest.approx(expected)
    if 0 < labels.sum() < len(labels):
        assert roc_auc(scores, labels, weights) == pytest.approx(
            roc_auc_score(labels, scores, sample_weight=weights)
        )
        assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_one_class_has_no_area():
    assert np.isnan(roc_auc([0.1, 0.2], [1, 1]))
    assert np.isnan(roc_auc([0.1, 0.2], [0, 0]))
    assert np.isnan(pr_auc([0.1, 0.2], [0, 0]))
    assert pr_auc([0.1, 0.2], [1, 1]) == 1.0
    assert np.isnan(roc_auc([], []))
    assert np.isnan(request_level_auc([0.1, 0.2], [1, 0], [1, 1]))


def test_rows_without_weight_do_not_count():
    assert roc_auc([0.9, 0.5, 0.1], [0, 1, 0], [0, 1, 1]) == 1.0
    assert pr_auc([0.9, 0.5, 0.1], [0, 1, 0], [0, 1, 1]) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([np.nan, 0], [0, 1]), r"scores\[0\] is nan"),
        (([0, 1], [0, 2]), r"labels\[1\] is 2; only 0 and 1"),
        (([0, 1], [0, 1], [1, -1]), r"weights\[1\] is -1.0; at least 0.0"),
        (([0, 1], [0, 1, 1]), "2 scores, 3 labels and 2 weights"),
    ],
)
def test_bad_input_is_named(arguments, message):
    for metric in (roc_auc, pr_auc):
        with pytest.raises(ValueError, match=message):
            metric(*arguments)


def test_both_weightings_against_a_slow_loop():
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 15, 60)
    scores = generator.integers(0, 6, lengths.sum()).astype(np.float64)
    labels = generator.random(lengths.sum()) < 0.3
    areas, pairs = [], []
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        rows = slice(end - length, end)
        if 0 < labels[rows].sum() < length:
            areas.append(roc_auc_score(labels[rows], scores[rows]))
            pairs.append(labels[rows].sum() * (~labels[rows]).sum())
    assert request_level_auc(scores, labels, lengths) == pytest.approx(np.mean(areas))
    by_pair = request_level_auc(scores, labels, lengths, weighting="pair")
    assert by_pair == pytest.approx(np.average(areas, weights=pairs))
    with pytest.raises(ValueError, match="weighting 'user' is not allowed"):
        request_level_auc(scores, labels, lengths, weighting="user")


@pytest.mark.parametrize(
    ("name", "estimate_is_exact", "half_ties"), [("small", True, 0.75), ("stride", False, 0.7618522)]
)
def test_golden_and_how_far_the_windowed_estimate_is_off(name, estimate_is_exact, half_ties):
    case = golden_case(f"request_level_auc__{name}")
    _, lengths = torch.unique_consecutive(case["in.request_id"], return_counts=True)
    exact = request_level_auc(case["in.score"], case["in.label"], lengths, weighting="pair", tie_credit=0.0)
    assert exact == pytest.approx(case["out.exact_all_pairs"].item(), abs=5e-6)
    estimate = windowed_estimate(*(case[f"in.{key}"].numpy() for key in ("request_id", "score", "label")))
    assert estimate == pytest.approx(case["out.value"].item(), abs=5e-6)
    assert (abs(exact - estimate) < 5e-6) == estimate_is_exact  # stride: .75888 against .75679
    usual = request_level_auc(case["in.score"], case["in.label"], lengths, weighting="pair")
    assert usual == pytest.approx(half_ties, abs=1e-6)
