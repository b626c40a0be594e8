"""Checkpoints in the background: the same bits, and errors that reach every rank."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from interactrank.checkpoint import staging
from interactrank.checkpoint import store as checkpoint
from interactrank.checkpoint.store import CheckpointStore
from interactrank.core.manifest import Manifest
from interactrank.distributed.errors import RankError
from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import build_optimizer
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.checkpoint.test_store import RW, TW, contents, settings_for
from tests.ranks import run_ranks
from tests.toy import ROWS, ToyLoader, ToyModel


def _train(output: str, background: bool) -> None:
    settings = settings_for((TW, RW, RW), steps=5, checkpoint_every=2, keep_last=9)
    settings = settings.model_copy(update={"checkpoint_async": background})
    train(ToyModel(dropout=0.1), ToyLoader(current_world().rank), settings, output)


def test_the_copy_is_of_the_step_while_training_goes_on(tmp_path: Path) -> None:
    for name, background in (("front", False), ("back", True)):
        run_ranks(2, _train, str(tmp_path / name), background)
        for step in (2, 4, 5):
            (tmp_path / f"{name}{step}").mkdir()
            folder = tmp_path / name / "checkpoints" / f"step_{step:010d}"
            folder.rename(tmp_path / f"{name}{step}" / folder.name)
    for step in (2, 4, 5):
        front, back = contents(tmp_path / f"front{step}"), contents(tmp_path / f"back{step}")
        assert front.keys() == back.keys()
        assert len(front) > 20
        for name, value in front.items():
            assert torch.equal(value, back[name]), name


def _full_disk(output: str) -> tuple[str, list[str]]:
    original = Manifest.write

    def full(manifest: Manifest, folder: Path, *, seal: bool = False) -> None:
        if "step_0000000002" in str(folder):
            raise OSError(28, "No space left on device")
        original(manifest, folder, seal=seal)

    settings = TrainingSettings(steps=100, checkpoint_every=1, checkpoint_async=True)
    Manifest.write = full  # type: ignore[method-assign]
    try:
        train(ToyModel(), ToyLoader(current_world().rank), settings, output)
    except (OSError, RankError) as error:
        names = sorted(path.name for path in (Path(output) / "checkpoints").glob("step_*"))
        return f"{type(error).__name__}: {error}", names
    finally:
        Manifest.write = original  # type: ignore[method-assign]
    return "no error", []


def test_an_error_in_the_background_ends_all_ranks_soon(tmp_path: Path) -> None:
    (first, kept), (second, _) = run_ranks(2, _full_disk, str(tmp_path))
    assert first == "OSError: [Errno 28] No space left on device"
    assert second.startswith("RankError: rank 0 failed while")
    assert second.endswith("No space left on device")
    assert kept == ["step_0000000001"]


class _Slow:
    """Lets writing begin when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        original = checkpoint.HashingWriter

        def writer(path: Path) -> Any:
            assert self.go.wait(60)
            return original(path)

        monkeypatch.setattr(checkpoint, "HashingWriter", writer)


def test_save_returns_before_the_files_are_there_and_wait_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _Slow(monkeypatch)
    settings = TrainingSettings()
    with process_group("cpu"):
        world, model = current_world(), ToyModel()
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        optimizer = build_optimizer(dmp, settings, 3)
        store = CheckpointStore(tmp_path, background=True)
        path = store.save(dmp, optimizer, 1, {"step": 1})
        assert store.latest() is None
        with torch.no_grad():
            for parameter in dmp.parameters():
                parameter.zero_()
        slow.go.set()
        store.wait()
        assert store.latest() == path
        store.wait()  # nothing is left to wait for
        store.load(path, dmp, optimizer)
        assert any(bool(parameter.any()) for parameter in dmp.parameters())


@pytest.mark.parametrize("background", [True, False])
def test_memory_for_copies_is_made_when_training_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool
) -> None:
    """By a thread of its own, before any save; none where files are written at once."""
    made: list[tuple[str, torch.Size]] = []
    like = staging._like

    def noted(value: Tensor) -> Tensor:
        made.append((threading.current_thread().name, value.size()))
        return like(value)

    monkeypatch.setattr(staging, "_like", noted)
    with process_group("cpu"):
        _train(str(tmp_path), background)
    of_tables = {thread for thread, size in made if tuple(size) == (ROWS["words"], 8)}
    assert of_tables == ({"interactrank-staging_0"} if background else set())
    sizes = [size for thread, size in made if thread == "MainThread"]
    assert len(sizes) == (5 if background else 0)  # of the random state, which is no part of the model


class NormModel(ToyModel):
    """With running statistics of each rank's own batches."""

    def __init__(self) -> None:
        super().__init__()
        self.rest.norm = nn.BatchNorm1d(8)  # type: ignore[assignment]


def _statistics(output: str, steps: int) -> tuple[list[float], list[float]]:
    rank = current_world().rank
    settings = TrainingSettings(steps=steps, log_every=1, checkpoint_every=3)
    result = train(NormModel(), ToyLoader(rank), settings, output)
    buffer = dict(result.dmp.named_buffers())["rest.norm.running_mean"]
    return buffer.tolist(), [row["loss"] for row in result.metrics]


def test_each_rank_gets_its_own_buffers_back(tmp_path: Path) -> None:
    whole = run_ranks(2, _statistics, str(tmp_path / "whole"), 6)
    assert whole[0][0] != whole[1][0]
    run_ranks(2, _statistics, str(tmp_path / "parts"), 3)
    assert run_ranks(2, _statistics, str(tmp_path / "parts"), 6) == whole
