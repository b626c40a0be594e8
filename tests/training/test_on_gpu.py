"""A training on a GPU is the training on the CPU, and either goes on where the other stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch

from interactrank.batch import SearchBatch
from interactrank.distributed.world import process_group
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.toy import ToyLoader, ToyModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


class StopError(Exception):
    """Stands for a machine that is lost in the middle of a run."""


class StoppingLoader(ToyLoader):
    """Ends the run in the middle of its second epoch."""

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        for number, batch in enumerate(super().epoch(n, start), start):
            if (n, number) == (1, 1):
                raise StopError
            yield batch


def losses(
    output: Path, device: Literal["cpu", "cuda"], *, stop: bool = False, **more: object
) -> list[float]:
    """The losses of 8 steps; of a run that is stopped, none."""
    values = {"epochs": 2, "log_every": 1, "checkpoint_every": 3, "clip_norm": 1.0, "device": device}
    settings = TrainingSettings.model_validate(values | more)
    loader = StoppingLoader() if stop else ToyLoader()
    with process_group(device):
        try:
            return [row["loss"] for row in train(ToyModel(), loader, settings, output).metrics]
        except StopError:
            return []


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "row_wise_adagrad"])
@pytest.mark.parametrize("pipeline", ["plain", "sparse_dist"])
def test_the_losses_are_those_of_the_cpu(tmp_path: Path, optimizer: str, pipeline: str) -> None:
    more = {"table_optimizer": {"name": optimizer, "lr": 0.1}}
    expected = losses(tmp_path / "cpu", "cpu", **more)
    found = losses(tmp_path / "gpu", "cuda", pipeline=pipeline, **more)
    assert len(found) == 8
    assert found == pytest.approx(expected, rel=1e-4)


def test_bf16_stays_close(tmp_path: Path) -> None:
    expected = losses(tmp_path / "cpu", "cpu")
    assert losses(tmp_path / "gpu", "cuda", autocast="bf16") == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(("first", "then"), [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")])
def test_a_stopped_run_goes_on_also_on_the_other_device(
    tmp_path: Path, first: Literal["cpu", "cuda"], then: Literal["cpu", "cuda"], background: bool
) -> None:
    expected = losses(tmp_path / "whole", "cpu")
    assert losses(tmp_path / "run", first, stop=True, checkpoint_async=background) == []
    found = losses(tmp_path / "run", then, checkpoint_async=background)
    assert found == pytest.approx(expected, rel=1e-4)
