from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from interactrank.batch import SearchBatch
from interactrank.core.errors import TrainingError
from interactrank.core.extras import MissingExtraError
from interactrank.distributed.errors import RankError
from interactrank.distributed.world import current_world, process_group
from interactrank.training.monitor import NonFiniteLossError
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.ranks import RankFailure, run_ranks
from tests.toy import ToyLoader, ToyModel, toy_batch


class StopError(Exception):
    """Stands for a machine that is lost in the middle of a run."""


class StoppingLoader(ToyLoader):
    """Ends the run at a batch, on all ranks."""

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        for number, batch in enumerate(super().epoch(n, start), start):
            if (n, number) == (1, 1):
                raise StopError
            yield batch


def settings(**more: object) -> TrainingSettings:
    values = {
        "epochs": 2,
        "log_every": 1,
        "checkpoint_every": 3,
        "schedule": {"decay": "cosine", "warmup_steps": 2},
        "sharding": {"queries": {"types": ["table_wise"]}, "words": {"types": ["row_wise"]}},
    }
    return TrainingSettings.model_validate(values | more)


def _run(output: str, stop: bool, more: dict[str, object]) -> list[dict[str, float]]:
    rank = current_world().rank
    loader = StoppingLoader(rank) if stop else ToyLoader(rank)
    try:
        return train(ToyModel(dropout=0.2), loader, settings(**more), output).metrics
    except StopError:
        return []


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{}, {"pipeline": "sparse_dist", "autocast": "bf16"}, {"checkpoint_async": True}]
)
def test_a_resumed_run_ends_as_the_uninterrupted_one(tmp_path: Path, more: dict[str, object]) -> None:
    expected, _ = run_ranks(2, _run, str(tmp_path / "whole"), False, more)
    # Batch 1 of epoch 1 is step 6 of 8: the run stops after step 5 (the pipeline, which reads two batches
    # ahead, after step 3), and goes on from the checkpoint of step 3, in the middle of epoch 0.
    assert run_ranks(2, _run, str(tmp_path / "stopped"), True, more) == [[], []]
    found, _ = run_ranks(2, _run, str(tmp_path / "stopped"), False, more)

    # Messages are counted once after each start.
    of_a_start = ("requests_per_s", "messages/")
    strip = [
        [{k: v for k, v in row.items() if not k.startswith(of_a_start)} for row in rows]
        for rows in (expected, found)
    ]
    assert [row["step"] for row in found] == list(range(1, 9))
    assert strip[0] == strip[1]
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    stopped = load_file(tmp_path / "stopped" / "model.safetensors")
    assert whole.keys() == stopped.keys()
    for name, value in whole.items():
        assert torch.equal(value, stopped[name]), name
    lines = (tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    with process_group("cpu"):
        first = train(ToyModel(), ToyLoader(), settings(), tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with process_group("cpu"):
        again = train(ToyModel(seed=3), ToyLoader(), settings(), tmp_path)
        with pytest.raises(ValueError, match="holds a run with checkpoint step_0000000008; resume it"):
            train(ToyModel(), ToyLoader(), settings(), tmp_path, resume=False)
    assert (first.step, again.step) == (8, 8)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert len(again.metrics) == 8


class CountingLoader(ToyLoader):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, int]] = []

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        for number, batch in enumerate(super().epoch(n, start), start):
            self.calls.append((n, number))
            yield batch


def test_every_batch_is_seen_once_and_metrics_say_what_happened(tmp_path: Path) -> None:
    loader = CountingLoader()
    with process_group("cpu"):
        train(ToyModel(), loader, settings(log_every=3, checkpoint_every=None), tmp_path)
    assert loader.calls == [(epoch, number) for epoch in (0, 1) for number in range(4)]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["epoch"]) for row in rows] == [(3, 0), (6, 1), (8, 1)]
    # Cosine after a warm-up of 2 of 8 steps: (1 + cos(pi * (3 - 2) / 6)) / 2 = 0.9330127 at step 3.
    assert rows[0]["lr"] == pytest.approx(0.01 * 0.9330127)
    assert rows[0]["lr_tables"] == pytest.approx(0.05 * 0.9330127)
    assert rows[-1]["lr"] == 0
    assert {"loss", "loss/bce", "grad_norm", "requests_per_s"} <= rows[0].keys()


def test_losses_of_the_metrics_are_means_over_the_window(tmp_path: Path) -> None:
    with process_group("cpu"):
        each = train(ToyModel(), ToyLoader(), settings(checkpoint_every=None), tmp_path / "a").metrics
        pairs = train(ToyModel(), ToyLoader(), settings(log_every=2), tmp_path / "b").metrics
    found = {row["step"]: row["loss"] for row in pairs}
    losses = [row["loss"] for row in each]
    assert found[2] == pytest.approx((losses[0] + losses[1]) / 2)
    assert found[3] == pytest.approx(losses[2])  # a checkpoint writes a row, too


def _evaluating(output: str, pipeline: str, every: int | None) -> tuple[list, list[dict[str, float]]]:
    world = current_world()
    seen = []

    def evaluate(model: nn.Module, step: int) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        loss = model(toy_batch(7))[0].double()
        dist.all_reduce(loss)
        seen.append((step, float(loss) / world.size))
        return {"loss": seen[-1][1]}

    result = train(
        ToyModel(dropout=0.5),
        ToyLoader(world.rank),
        settings(validate_every=every, pipeline=pipeline, checkpoint_every=None),
        output,
        validate=evaluate if every else None,
    )
    assert result.dmp.training
    return seen, result.metrics


@pytest.mark.parametrize("pipeline", ["plain", "sparse_dist"])
def test_evaluation_between_steps_leaves_training_as_it_was(tmp_path: Path, pipeline: str) -> None:
    (seen, rows), (same, _) = run_ranks(2, _evaluating, str(tmp_path / "with"), pipeline, 3)
    assert seen == same
    assert [step for step, _ in seen] == [3, 6, 8]
    assert {row["step"]: row["validation/loss"] for row in rows if "validation/loss" in row} == dict(seen)
    (_, without), _ = run_ranks(2, _evaluating, str(tmp_path / "without"), pipeline, None)
    assert [row["loss"] for row in rows] == [row["loss"] for row in without]


def _called_afterwards(output: str, pipeline: str) -> float:
    """Loss of a batch by the trained model, without an evaluation before."""
    loader = ToyLoader(current_world().rank)
    dmp = train(ToyModel(), loader, settings(pipeline=pipeline), output).dmp.eval()
    with torch.no_grad():
        return float(dmp(loader.batch(7, 0))[0])


def test_the_trained_model_can_be_called(tmp_path: Path) -> None:
    losses = [
        run_ranks(2, _called_afterwards, str(tmp_path / pipeline), pipeline)
        for pipeline in ("plain", "sparse_dist")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def _not_finite(output: str) -> str:
    rank = current_world().rank
    loader = ToyLoader(rank, nan_at=(1, 1), nan_rank=1)
    try:
        train(ToyModel(), loader, settings(log_every=4), output)
    except NonFiniteLossError as error:
        return str(error)
    return "no error"


def test_nan_stops_all_ranks_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    for message in run_ranks(2, _not_finite, str(tmp_path)):
        # Batch 1 of epoch 1 is step 4 + 2; found at the checkpoint that is due then, which is not written.
        assert message.startswith("step 6: the loss or a gradient is not finite.")
        assert "rank 0" not in message
        assert "rank 1: loss nan, loss/bce nan, gradient norm nan" in message
        # Requests of rank 1: 9. One of its 18 numbers is NaN.
        assert "  request_dense [9 x 2]: " in message
        assert ", 1 NaN, 0 infinite" in message
        assert "  request_ids.queries [9]: " in message
    assert [p.name for p in sorted((tmp_path / "checkpoints").iterdir())] == ["step_0000000003"]
    # With the batch mended the run goes on from there, and a row of every step is logged this time.
    found = run_ranks(2, _run, str(tmp_path), False, {})[0]
    assert [row["step"] for row in found] == [3, 4, 5, 6, 7, 8]


def _uneven(output: str) -> str:
    loader = ToyLoader(steps_per_epoch=4 + current_world().rank)
    try:
        train(ToyModel(), loader, settings(), output)
    except ValueError as error:
        return str(error)
    return "no error"


def test_ranks_with_different_numbers_of_batches_are_refused_before_they_hang(tmp_path: Path) -> None:
    for message in run_ranks(2, _uneven, str(tmp_path)):
        assert message.startswith("steps_per_epoch differs between ranks (rank 0 4, rank 1 5)")


def _one_rank_cannot_start(output: str) -> str:
    world = current_world()
    loader = ToyLoader(steps_per_epoch=4 if world.is_main else 0)
    try:
        train(ToyModel(), loader, settings(), output)
    except (ValueError, RankError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def test_an_error_of_one_rank_before_training_reaches_the_other(tmp_path: Path) -> None:
    first, second = run_ranks(2, _one_rank_cannot_start, str(tmp_path))
    assert second.startswith("TrainingError: the loader has no batch")
    assert first.startswith("RankError: rank 1 failed while checking the arguments of train: TrainingError")


def test_a_rank_that_runs_out_of_data_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(RankFailure) as failure:
        run_ranks(2, _one_rank_ends, str(tmp_path))
    assert "rank 1\ndied with exit code 7" in str(failure.value)
    assert "rank 0: another rank stopped; its own error says why" in str(failure.value)


def _one_rank_ends(output: str) -> None:
    rank = current_world().rank
    try:
        train(ToyModel(), ShortLoader(rank) if rank == 1 else ToyLoader(rank), settings(), output)
    except TrainingError as error:
        if "the loader gave 1 batches in epoch 0 on this rank instead of the 4" in str(error):
            os._exit(7)  # as the command line ends, only faster
        raise


class ShortLoader(ToyLoader):
    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        yield self.batch(n, 0)


def test_a_loader_that_ends_early_is_named(tmp_path: Path) -> None:
    with process_group("cpu"), pytest.raises(ValueError, match=r"1 batches in epoch 0 .* instead of the 4"):
        train(ToyModel(), ShortLoader(), settings(), tmp_path)


def test_train__validate_every_without_a_function_is_refused(tmp_path: Path) -> None:
    with process_group("cpu"), pytest.raises(ValueError, match="given no function `validate`"):
        train(ToyModel(), ToyLoader(), settings(validate_every=2), tmp_path)


def test_train_needs_a_process_group(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no process group"):
        train(ToyModel(), ToyLoader(), settings(), tmp_path)


def test_tensorboard_scalars_are_written(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with process_group("cpu"):
        rows = train(ToyModel(), ToyLoader(), settings(tensorboard=True), tmp_path).metrics
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == list(range(1, 9))
    assert [e.value for e in events.Scalars("loss")] == pytest.approx([row["loss"] for row in rows])


def test_tensorboard_without_the_extra_gives_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with (
        process_group("cpu"),
        pytest.raises(MissingExtraError, match=r"pip install 'interactrank\[report\]'"),
    ):
        train(ToyModel(), ToyLoader(), settings(tensorboard=True), tmp_path)
