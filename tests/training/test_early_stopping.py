"""Early stopping: when it stops, what it keeps, and that a resumed run decides alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from interactrank.core.errors import TrainingError
from interactrank.core.settings import ConfigError, parse_config
from interactrank.distributed.world import current_world, process_group
from interactrank.runs.training import validation
from interactrank.training.early_stopping import EarlyStopping
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import TrainingResult, train
from tests import trained
from tests.ranks import run_ranks
from tests.toy import ToyLoader, ToyModel

VALUES = {2: 0.1, 4: 0.5, 6: 0.4, 8: 0.3, 10: 0.9}  # of the validation after each step
STOPPING = {"metric": "mrr", "patience": 2}


def rows(*values: float) -> list[dict[str, float]]:
    return [{"step": n, "validation/mrr": value} for n, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("values", "best_step", "since", "is_over"),
    [
        ((), 0, 0, False),
        ((0.3,), 1, 0, False),
        ((0.3, 0.4, 0.4), 2, 1, False),  # as good is not better
        ((0.3, 0.4, 0.2, 0.1), 2, 2, True),
        ((0.4, 0.3, 0.5), 3, 0, False),
        ((float("nan"), 0.1, float("nan")), 2, 1, False),
    ],
)
def test_progress(values: tuple[float, ...], best_step: int, since: int, is_over: bool) -> None:
    found = EarlyStopping(metric="mrr", patience=2).progress([{"step": 0, "loss": 1.0}, *rows(*values)])
    assert (found.best_step, found.since, found.is_over) == (best_step, since, is_over)


def test_progress__of_a_metric_that_falls_and_a_least_gain() -> None:
    falling = EarlyStopping(metric="mrr", mode="min", min_gain=0.1)
    assert falling.progress(rows(0.5, 0.45, 0.3, 0.2)).best_step == 3  # .05 less is no gain, .2 less is


def test_progress__of_a_metric_that_is_not_measured() -> None:
    with pytest.raises(TrainingError, match=r"metric: validations have no mr; did you mean 'mrr'\?"):
        EarlyStopping(metric="mr").progress(rows(0.5))


def _settings(**more: object) -> TrainingSettings:
    values = {"epochs": 5, "log_every": 1, "validate_every": 2, "early_stopping": STOPPING}
    return parse_config(TrainingSettings, values | more)


class _Killed(Exception):
    """Stands for a machine that is lost."""


def _train(output: Path, kill_at: int | None = None, **more: object) -> TrainingResult:
    def validate(model: nn.Module, step: int) -> dict[str, float]:
        if step == kill_at:
            raise _Killed
        return {"mrr": VALUES[step]}

    loader = ToyLoader(current_world().rank)
    return train(ToyModel(), loader, _settings(**more), output, validate=validate)


def _same(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_model_is_that_of_the_best_validation(tmp_path: Path) -> None:
    with process_group("cpu"):
        result = _train(tmp_path / "stopped")
        train(ToyModel(), ToyLoader(0), TrainingSettings(steps=4), tmp_path / "four_steps")
    assert result.step == 4
    assert [row["step"] for row in result.metrics if "validation/mrr" in row] == [2, 4, 6, 8]  # never 10
    assert _same(tmp_path / "stopped", tmp_path / "four_steps")
    kept = sorted(path.name for path in (tmp_path / "stopped" / "checkpoints").iterdir())
    assert kept == ["step_0000000004", "step_0000000008"]


def test_the_best_checkpoint_stays_however_many_follow(tmp_path: Path) -> None:
    with process_group("cpu"):
        _train(tmp_path, early_stopping={"metric": "mrr", "patience": 2}, checkpoint_every=1, keep_last=1)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step_0000000004", "step_0000000008"]


@pytest.mark.parametrize("kill_at", [4, 6, 8])
def test_a_resumed_run_decides_as_an_uninterrupted_one(tmp_path: Path, kill_at: int) -> None:
    with process_group("cpu"):
        whole = _train(tmp_path / "whole")
        with pytest.raises(_Killed):
            _train(tmp_path / "killed", kill_at)
        resumed = _train(tmp_path / "killed")
        again = _train(tmp_path / "killed")  # started after its end: nothing is trained
    for result in (resumed, again):
        assert result.step == whole.step == 4
        assert [row["step"] for row in result.metrics] == [row["step"] for row in whole.metrics]
    assert _same(tmp_path / "whole", tmp_path / "killed")


def _on_ranks(output: str) -> int:
    """Validations of rank 1 become ever better: the ranks must go by those of rank 0."""
    rank = current_world().rank

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        return {"mrr": VALUES[step] if rank == 0 else float(step)}

    return train(ToyModel(), ToyLoader(rank), _settings(), output, validate=validate).step


def test_two_ranks_stop_together(tmp_path: Path) -> None:
    assert run_ranks(2, _on_ranks, str(tmp_path)) == [4, 4]


def test_a_metric_without_any_value_is_named(tmp_path: Path) -> None:
    with process_group("cpu"), pytest.raises(TrainingError, match="no validation gave mrr a value"):
        train(ToyModel(), ToyLoader(), _settings(), tmp_path, lambda model, step: {"mrr": float("nan")})
    assert not (tmp_path / "model.safetensors").exists()


def test_without_validations() -> None:
    with pytest.raises(ConfigError, match="early_stopping: needs validations to look at; set validate_every"):
        _settings(validate_every=None)


@pytest.mark.parametrize(
    ("stopping", "message"),
    [
        ("{metric: ndgc@10}", r"'ndgc@10' is not measured while training; did you mean 'ndcg@10'\?"),
        ("{metric: mrr, mode: min}", "mode: mrr is good when it is large; set max, or leave it out"),
    ],
)
def test_a_metric_is_checked_before_anything_long(tmp_path: Path, stopping: str, message: str) -> None:
    from interactrank.data.prepared.dataset import PreparedDataset
    from interactrank.runs.datasets import prepare_dataset

    config = trained.config("training.validate_every=1", f"training.early_stopping={stopping}")
    prepare_dataset(config, trained.raw_log(tmp_path / "log"), tmp_path / "prepared")
    with pytest.raises(ConfigError, match=message):
        validation(config, PreparedDataset(tmp_path / "prepared"), 1)
