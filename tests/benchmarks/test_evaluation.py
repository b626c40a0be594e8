from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks import evaluation, metric_forms
from benchmarks.evaluation import Evaluation, metric_group
from benchmarks.metric_forms import Forms, check
from benchmarks.synthetic_log import CANDIDATES, prepared
from interactrank.data.prepared.dataset import PreparedDataset

FORMS = [make for make, _, _ in evaluation.METRICS.values()]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared(tmp_path_factory.mktemp("log"), 200 * CANDIDATES, items=120, users=20)


@pytest.mark.parametrize("make", FORMS)
def test_libraries_agree(make: Callable[[int], Forms]) -> None:
    check(make(30))


def test_another_number_is_an_error() -> None:
    forms = metric_forms.logged(30)
    ours = forms["ours"]
    with pytest.raises(AssertionError, match="mrr"):
        check(forms | {"ours": lambda: ours() | {"mrr": ours()["mrr"] + 1e-6}})


def test_drawn_scores_have_no_ties_and_both_labels() -> None:
    scores, relevant = metric_forms.draw(20, 9)
    assert all(sorted(row) == list(range(9)) for row in scores.tolist())
    assert relevant.any(1).all()
    assert not relevant.all(1).any()


def test_the_limit_multiplies_the_vectors_that_two_tower_ranks_by(log: PreparedDataset) -> None:
    of = Evaluation(log, "catalogue", 10)
    of.check()
    scorer = of.scorer(two_tower=True)
    scores = scorer(of.requests(), None)
    ((_, best),) = of.limit_step()()  # type: ignore[misc]
    assert best.shape == (10, 100)
    # The first of the limit is the first of the model, but for what rounding ties.
    top = scores.gather(1, best[:, :1]).squeeze(1)
    torch.testing.assert_close(top, scores.amax(1), rtol=1e-5, atol=1e-5)


def test_the_limit_of_logged_candidates(log: PreparedDataset) -> None:
    of = Evaluation(log, "logged", 10)
    dots = of.limit_step()()
    assert isinstance(dots, torch.Tensor)
    assert dots.shape == (10 * CANDIDATES,)
    requests = of.requests()
    scores = of.scorer(two_tower=True)(requests, requests.jagged("candidates"))
    assert np.corrcoef(dots.numpy(), scores.numpy())[0, 1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("candidates", ["catalogue", "logged"])
def test_all_requests_are_evaluated(log: PreparedDataset, candidates: str) -> None:
    of = Evaluation(log, candidates, 10)
    for two_tower in (False, True):
        table = of.step(two_tower)()
        assert isinstance(table, dict)
        assert table["request_index"].tolist() == of.requests().index.tolist()
        assert set(table["candidates"]) == {120 if candidates == "catalogue" else CANDIDATES}


@pytest.mark.slow
def test_groups_have_names_and_sizes_of_their_own(log: PreparedDataset) -> None:
    one = Evaluation(log, "logged", 10).group("logged candidates", 10)
    assert (one.name, one.settings["size"]) == ("logged_requests_10_items_120", 10)
    assert {c.work for c in one.contestants} == {10}
    other = metric_group("auc", metric_forms.area(40), 40, "rows")
    assert [c.name for c in other.contestants] == ["sklearn", "ours"]
    assert other.contestants[1].make()() == pytest.approx(metric_forms.area(40)["ours"]())
    names = [g.name for g in evaluation.groups(argparse.Namespace(smoke=True))]
    assert len(set(names)) == len(names)
