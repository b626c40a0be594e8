"""Baselines of one's own are names for ``models``, checked against the schema before anything is prepared."""

from collections.abc import Iterator

import pytest
import torch

from interactrank.core.registry import RegistryError
from interactrank.core.settings import ConfigError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.evaluator import evaluate
from interactrank.evaluation.report import model_title
from interactrank.evaluation.scorers import BASELINES, Baseline, Bm25Scorer, register_baseline
from interactrank.evaluation.settings import EvaluationSettings
from tests.trained import config


class Same:
    """Everything ties."""

    def __call__(self, requests, candidates):
        return torch.zeros(len(candidates.values))


@pytest.fixture
def nothing() -> Iterator[Baseline]:
    yield register_baseline(
        Baseline(
            name="nothing",
            title="no order",
            factory=lambda dataset, settings: Same(),
            problems=lambda schema: [] if schema.cross_features else ["nothing needs a cross feature"],
        )
    )
    BASELINES.remove("nothing")


def test_own_baseline__is_a_name_for_models(nothing: Baseline, log: PreparedDataset) -> None:
    run = config("models=[nothing, interactrank]")
    assert run.trained == ["interactrank"]
    scorer = BASELINES["nothing"].factory(log, run.evaluation)
    frame = evaluate(scorer, log, EvaluationSettings())
    assert (frame["auc"][frame["auc_pairs"] > 0] == 0.5).all()
    assert model_title("nothing") == "no order"


def test_own_baseline__says_what_a_schema_lacks(nothing: Baseline) -> None:
    with pytest.raises(ConfigError, match="models: nothing needs a cross feature"):
        config("models=[nothing]", "schema.cross_features=[]")


def test_unknown_and_taken_names() -> None:
    with pytest.raises(ConfigError, match="models: no model 'nothing'"):
        config("models=[nothing]")
    with pytest.raises(RegistryError, match="baseline 'bm25' is registered already"):
        register_baseline(Baseline(name="bm25", title="BM25", factory=lambda d, s: Bm25Scorer(d)))
