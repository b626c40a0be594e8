"""The model sharded over ranks: the pipelines agree, and a saved model scores as the sharded one did."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactrank.checkpoint.weights import load_model
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.distributed.world import current_world
from interactrank.evaluation.evaluator import evaluate
from interactrank.evaluation.scorers import ModelScorer
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.models import InteractRank
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.models.search import batch, model
from tests.ranks import run_ranks

CATALOGUE = EvaluationSettings(candidates="catalogue", ks=[3], block_scores=24)
CPU = torch.device("cpu")


def _train(
    log_folder: Path, output: Path, name: str, **changes: Any
) -> tuple[list[float], dict[str, Any], torch.Tensor]:
    """Losses of each step, what an evaluation within the training found, and scores of the sharded model."""
    world, log = current_world(), PreparedDataset(log_folder)
    settings = LoaderSettings(batch_requests=4, negatives=3)
    loader = SearchLoader(log, "train", settings, rank=world.rank, world_size=world.size)
    looks = []

    def look(sharded: torch.nn.Module, step: int) -> dict[str, float]:
        assert isinstance(sharded, InteractRank)
        looks.append(evaluate(ModelScorer(sharded, log, 0, CPU, chunk=5), log, CATALOGUE))
        return {"mrr": float(looks[-1]["mrr"].mean())}

    training = TrainingSettings(steps=4, log_every=1, validate_every=2, **changes)
    result = train(model(log, name=name), loader, training, output, validate=look)
    sharded = result.dmp.module.eval()
    with torch.no_grad():
        return [row["loss"] for row in result.metrics], looks[-1], sharded.score(batch(log))


ROW_WISE = {name: {"types": ["row_wise"]} for name in ("word", "category", "query", "item")}


RIVALS = [pytest.param(name, marks=pytest.mark.slow) for name in ("early_interaction", "late_interaction")]


@pytest.fixture(scope="module", params=["interactrank", *RIVALS])
def two_ranks(
    request: pytest.FixtureRequest, log: PreparedDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, list[Any]]:
    """A model's name, trained with row-wise sharded tables on two ranks by the plain pipeline."""
    output = Path(tmp_path_factory.mktemp("two_ranks"))
    return request.param, output, run_ranks(2, _train_row_wise, log.folder, output, request.param, "plain")


def _train_row_wise(log_folder: Path, output: Path, name: str, pipeline: str) -> Any:
    return _train(log_folder, output, name, pipeline=pipeline, sharding=ROW_WISE)


def test_a_sharded_model_scores_and_ranks_as_the_saved_one(log: PreparedDataset, two_ranks: Any) -> None:
    """Scores, and the whole catalogue's ranks: two ranks with uneven requests against one process."""
    name, output, ranks = two_ranks
    whole = model(log, seed=1, name=name)
    load_model(whole, output / "model.safetensors")
    with torch.no_grad():
        expected = whole.score(batch(log))
    table = evaluate(ModelScorer(whole, log, 0, CPU), log, CATALOGUE)
    assert len(table["mrr"]) % 2 == 1  # uneven requests
    for _, look, scores in ranks:
        torch.testing.assert_close(scores, expected)
        assert look.keys() == table.keys()
        for name in table:
            np.testing.assert_array_equal(look[name], table[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_the_overlapped_pipeline_gives_the_losses_of_the_plain_one(
    log: PreparedDataset, two_ranks: Any, tmp_path: Path, world_size: int
) -> None:
    name, _, plain = two_ranks
    if world_size == 1:
        plain = run_ranks(1, _train_row_wise, log.folder, tmp_path / "plain", name, "plain")
    output = tmp_path / "overlapped"
    overlapped = run_ranks(world_size, _train_row_wise, log.folder, output, name, "sparse_dist")
    for (losses, look, scores), (expected, expected_look, expected_scores) in zip(
        overlapped, plain, strict=True
    ):
        assert losses == pytest.approx(expected, rel=1e-6)
        torch.testing.assert_close(scores, expected_scores)
        np.testing.assert_array_equal(look["mrr"], expected_look["mrr"])
