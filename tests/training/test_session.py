"""A loop of one's own from the public parts gives what train gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.core.errors import TrainingError
from interactrank.distributed import process_group
from interactrank.distributed.world import current_world
from interactrank.training import TrainingSettings, setup, train
from tests.ranks import run_ranks
from tests.toy import ToyLoader, ToyModel

SETTINGS = TrainingSettings.model_validate(
    {"epochs": 2, "log_every": 1, "checkpoint_every": 3, "schedule": {"decay": "cosine", "warmup_steps": 2}}
)


def _own_loop(output: str, until: int, pipeline: str) -> list[float]:
    """Return the losses of this rank; stop behind the checkpoint of step ``until``."""
    settings = SETTINGS.model_copy(update={"pipeline": pipeline})
    losses = []
    session = setup(ToyModel(dropout=0.2), ToyLoader(current_world().rank), settings, output)
    for segment in session.data.segments(settings.checkpoint_every):
        for step in segment:
            losses.append(float(session.step(step, segment).loss))
        session.save(segment.last)
        with session.evaluation() as model:
            assert not model.training
            assert not torch.is_grad_enabled()
            model(ToyLoader(current_world().rank).batch(7, 0))
        assert session.dmp.training
        if segment.last == until:
            break
    return losses


def _train(output: str) -> list[float]:
    loader = ToyLoader(current_world().rank)
    return [row["loss"] for row in train(ToyModel(dropout=0.2), loader, SETTINGS, output).metrics]


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["plain", "sparse_dist"])
def test_session__a_loop_of_ones_own_gives_the_losses_of_train(tmp_path: Path, pipeline: str) -> None:
    expected, _ = run_ranks(2, _train, str(tmp_path / "train"))
    first = run_ranks(2, _own_loop, str(tmp_path / "own"), 3, pipeline)
    rest = run_ranks(2, _own_loop, str(tmp_path / "own"), 8, pipeline)
    # A row has the mean over the two ranks.
    losses = [(a + b) / 2 for a, b in zip(first[0] + rest[0], first[1] + rest[1], strict=True)]
    assert losses == pytest.approx(expected, rel=1e-6)


def test_setup__refuses_a_folder_that_is_not_to_be_resumed(tmp_path: Path) -> None:
    with process_group("cpu"):
        train(ToyModel(), ToyLoader(), TrainingSettings(steps=1), tmp_path)
        with pytest.raises(TrainingError, match="holds a run with checkpoint step_0000000001; resume it"):
            setup(ToyModel(), ToyLoader(), TrainingSettings(steps=1), tmp_path, resume=False)


class Pairs(nn.Module):
    """A model that takes and gives plain tuples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        table = EmbeddingBagConfig(name="t", embedding_dim=4, num_embeddings=10, feature_names=["user"])
        self.ebc = EmbeddingBagCollection(tables=[table])
        self.head = nn.Linear(4, 1)

    def forward(self, batch: tuple[KeyedJaggedTensor, Tensor]) -> tuple[Tensor, Tensor]:
        ids, labels = batch
        scores = self.head(self.ebc(ids)["user"]).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(scores, labels), scores


class PairLoader:
    steps_per_epoch = 3

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:
        for step in range(start, self.steps_per_epoch):
            g = torch.Generator().manual_seed(10 * n + step)
            users = torch.randint(0, 10, (6,), generator=g)
            ids = KeyedJaggedTensor(keys=["user"], values=users, lengths=torch.ones(6, dtype=torch.long))
            yield ids, (users % 2).float()


def test_train__takes_batches_and_outputs_that_are_plain_tuples(tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=2, log_every=1, pipeline="plain")
    with process_group("cpu"):
        rows = train(Pairs(), PairLoader(), settings, tmp_path).metrics
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "grad_norm", "samples_per_s", "lr"} <= rows[0].keys()
    # Without numbers of the model's own there is no part of the loss.
    assert not [name for name in rows[0] if name.startswith("loss/")]


def _tuples_overlapped(output: str) -> str:
    settings = TrainingSettings(steps=2, pipeline="sparse_dist")
    try:
        train(Pairs(), PairLoader(), settings, output)
    except TrainingError as error:
        return str(error)
    return "no error"


def test_train__tells_what_the_overlapped_pipeline_asks_of_a_batch(tmp_path: Path) -> None:
    for message in run_ranks(2, _tuples_overlapped, str(tmp_path)):
        assert "Derive it from interactrank.training.TensorBatch, or set" in message
