import pytest
import torch
from sklearn.metrics import roc_auc_score

from interactrank.evaluation.metrics.auc import pr_auc, roc_auc
from interactrank.evaluation.metrics.binned_auc import (
    binned_counts,
    binned_pr_auc,
    binned_roc_auc,
    binned_roc_pr_auc,
)
from tests.evaluation.golden import golden_case

CASES = {
    "t100": 100,
    "t2000": 2000,
    "on_thresholds": 11,
    "skewed_scores": 2000,
    "no_positive": 2000,
    "all_positive": 2000,
}


def test_counts_by_hand():
    # Thresholds -1e-7, .25, .5, .75, 1+1e-7. The prediction .5 passes .5 only when inclusive.
    predictions, labels = torch.tensor([0.5, 0.1, 0.9]), torch.tensor([1.0, 0.0, 1.0])
    weights = torch.tensor([2.0, 3.0, 5.0])
    counts = binned_counts(predictions, labels, weights, num_thresholds=5)
    assert counts.true_positives.tolist() == [7, 7, 7, 5, 0]
    assert counts.false_positives.tolist() == [3, 0, 0, 0, 0]
    strict = binned_counts(predictions, labels, weights, num_thresholds=5, inclusive=False)
    assert strict.true_positives.tolist() == [7, 7, 5, 5, 0]
    assert (counts.positives.item(), counts.negatives.item()) == (7, 3)


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    case = golden_case(f"binned_auc__{name}")
    data = [case["in.preds"], case["in.labels"], case["in.weights"]]
    thresholds = CASES[name]
    expected = {
        "accumulator": binned_roc_pr_auc(*data, num_thresholds=thresholds),
        "module": binned_roc_pr_auc(*data, num_thresholds=thresholds, inclusive=False),
    }
    for variant, (roc, pr) in expected.items():
        for area, out in ((roc, f"out.{variant}_ROC"), (pr, f"out.{variant}_PR")):
            torch.testing.assert_close(area.float(), case[out][0], rtol=1e-5, atol=2e-6)
    if "out.module_ROC_unweighted" in case:
        roc, pr = binned_roc_pr_auc(*data[:2], num_thresholds=thresholds, inclusive=False)
        torch.testing.assert_close(roc.float(), case["out.module_ROC_unweighted"][0], rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(pr.float(), case["out.module_PR_unweighted"][0], rtol=1e-5, atol=2e-6)
    if "out.exact_ROC" in case:
        assert roc_auc(*data) == pytest.approx(case["out.exact_ROC"].item(), abs=1e-5)
        assert pr_auc(*data) == pytest.approx(case["out.exact_average_precision"].item(), abs=1e-5)


def test_batches_add_up():
    generator = torch.Generator().manual_seed(0)
    predictions, weights = torch.rand(2, 300, generator=generator)
    labels = (torch.rand(300, generator=generator) < predictions).float()
    whole = binned_counts(predictions, labels, weights)
    parts = binned_counts(predictions[:100], labels[:100], weights[:100]) + binned_counts(
        predictions[100:], labels[100:], weights[100:]
    )
    torch.testing.assert_close(binned_roc_auc(parts), binned_roc_auc(whole))
    torch.testing.assert_close(binned_pr_auc(parts), binned_pr_auc(whole))
    # 2,000 bins on scores that are spread out come close to the exact area.
    exact = roc_auc_score(labels, predictions, sample_weight=weights)
    assert binned_roc_auc(whole).item() == pytest.approx(exact, abs=1e-3)


def test_no_row():
    roc, pr = binned_roc_pr_auc(torch.zeros(0), torch.zeros(0))
    assert (roc.item(), pr.item()) == (0.0, 0.0)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"predictions\[1\] is 1.5; probabilities"):
        binned_counts(torch.tensor([0.5, 1.5]), torch.zeros(2))
    with pytest.raises(ValueError, match=r"predictions\[0\] is nan"):
        binned_counts(torch.tensor([float("nan")]), torch.zeros(1))
    with pytest.raises(ValueError, match="num_thresholds is 1; at least 2"):
        binned_counts(torch.zeros(1), torch.zeros(1), num_thresholds=1)
    with pytest.raises(ValueError, match="counts at 3 and at 4 thresholds do not add up"):
        _ = binned_counts(torch.zeros(1), torch.zeros(1), num_thresholds=3) + binned_counts(
            torch.zeros(1), torch.zeros(1), num_thresholds=4
        )
