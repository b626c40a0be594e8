"""Predicted probabilities: the same whatever is ranked, however blocks are cut, on any number of ranks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.evaluator import evaluate_many
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.scorers import Bm25Scorer, ModelScorer
from interactrank.evaluation.settings import EvaluationSettings
from tests.models import search
from tests.ranks import run_ranks

CPU = torch.device("cpu")


def collect(log: PreparedDataset, candidates: str = "logged", block: int = 100_000, **model) -> dict:
    found: dict[str, Predictions] = {}
    settings = EvaluationSettings(candidates=candidates, block_scores=block)
    scorers = {"model": ModelScorer(search.model(log, **model), log, 0, CPU), "bm25": Bm25Scorer(log)}
    evaluate_many(scorers, log, settings, predictions=found)
    return found


def assert_same(first: Predictions, second: Predictions) -> None:
    assert np.array_equal(first.request, second.request)
    assert np.array_equal(first.label, second.label)
    np.testing.assert_allclose(first.probability, second.probability, rtol=1e-5)


def test_predictions__are_the_sigmoid_of_the_training_score(log: PreparedDataset) -> None:
    found = collect(log)
    assert list(found) == ["model"]  # BM25 states no probability
    chosen = search.requests(log, "test")
    scores = ModelScorer(search.model(log), log, 0, CPU)(chosen, chosen.jagged("candidates"))
    np.testing.assert_allclose(found["model"].probability, torch.sigmoid(scores).numpy(), rtol=1e-5)
    heads = len(log.schema.heads)
    assert np.array_equal(found["model"].label, chosen.matrix("labels", heads)[:, 0] > 0)


@pytest.mark.parametrize(("candidates", "block"), [("catalogue", 100_000), ("logged", 1), ("catalogue", 24)])
def test_predictions__do_not_depend_on_what_is_ranked_or_on_blocks(
    log: PreparedDataset, candidates: str, block: int
) -> None:
    assert_same(collect(log, candidates, block)["model"], collect(log)["model"])


def test_predictions__none_without_a_pointwise_loss(log: PreparedDataset) -> None:
    losses = {"pointwise_weight": 0.0, **_other_losses()}
    assert collect(log, loss=losses) == {}


def _other_losses() -> dict[str, float]:
    return {name: weight for name, weight in search.SMALL["loss"].items() if name != "pointwise_weight"}


NO_RATES = "cross_features=[{kind: bm25, columns: [title]}]"


def test_predictions__none_without_impressions(tmp_path: Path) -> None:
    log = search.prepared(tmp_path, "events.impressions=false", NO_RATES)
    assert collect(log, "catalogue") == {}


def _on_rank(folder: Path) -> Predictions:
    return collect(PreparedDataset(folder), block=24)["model"]


def test_predictions__two_ranks_give_those_of_one_process(log: PreparedDataset) -> None:
    alone = _on_rank(log.folder)
    for found in run_ranks(2, _on_rank, log.folder):
        assert_same(found, alone)
