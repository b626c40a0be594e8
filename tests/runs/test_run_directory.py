"""What may change on resume, and what makes a training another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interactrank.runs.run_directory import (
    RunDirectoryError,
    RunSpec,
    free_settings,
    move_aside,
    open_or_resume,
    read_spec,
)
from tests.trained import config

LAYOUT = SimpleNamespace(table_rows={}, num_items=0, number_stats={})
LOG: Any = SimpleNamespace(manifest={"fingerprint": "a"}, lineage=["a"], layout=LAYOUT)


def wanted(*overrides: str) -> RunSpec:
    return RunSpec.of("interactrank", config(*overrides), LOG)


CHANGES = [
    "training.timeout_s=5",
    "training.checkpoint_every=7",
    "training.checkpoint_async=true",
    "training.keep_last=4",
    "training.validate_every=9",
    "training.pipeline=plain",
    "training.device=cpu",
    "training.sharding={item: {types: [row_wise]}}",
    "loader.prefetch=5",
    "ranks=3",
]


def test_operation_may_change(tmp_path: Path) -> None:
    open_or_resume(tmp_path, wanted())
    for change in CHANGES:
        open_or_resume(tmp_path, wanted(change))
    assert move_aside(tmp_path, wanted(*CHANGES)) is None
    assert set(free_settings("loader")) == {"prefetch"}
    assert list(free_settings("model")) == list(free_settings("schema")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.dense_optimizer.lr=0.5", r"training\.dense_optimizer\.lr was [\d.]+ and is 0\.5"),
        ("loader.seed=4", r"loader\.seed was 0 and is 4"),
    ],
)
def test_what_decides_about_the_weights_may_not(tmp_path: Path, change: str, said: str) -> None:
    open_or_resume(tmp_path, wanted())
    with pytest.raises(RunDirectoryError, match=f"with other settings: {said}. Use those to resume it"):
        open_or_resume(tmp_path, wanted(change, *CHANGES))


def test_another_preparation_of_the_log_is_another_training(tmp_path: Path) -> None:
    open_or_resume(tmp_path, wanted())
    with pytest.raises(RunDirectoryError, match="the dataset has changed"):
        open_or_resume(tmp_path, replace(wanted(), dataset="b"))


def test_a_folder_of_something_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")  # of a prepared log, or of an export
    with pytest.raises(RunDirectoryError, match=r"it has manifest\.json but no run_spec\.json"):
        open_or_resume(tmp_path, wanted())


def test_move_aside__every_model_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "model"
    for seed in (0, 1, 2):
        spec = wanted(f"loader.seed={seed}")
        backup = move_aside(directory, spec)
        assert backup == (None if seed == 0 else tmp_path / f"model.before_{seed}")
        if seed:
            assert f"loader.seed was {seed - 1} and is {seed}. Retraining; the previous model" in caplog.text
            assert str(backup) in caplog.text
        open_or_resume(directory, spec)
    seeds = {}
    for path in tmp_path.iterdir():
        spec = read_spec(path)
        assert spec is not None
        seeds[path.name] = spec.settings["loader"]["seed"]
    assert seeds == {"model.before_1": 0, "model.before_2": 1, "model": 2}


def test_move_aside__a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "model"
    link.symlink_to(tmp_path / "disk")
    open_or_resume(link, wanted())
    assert move_aside(link, wanted("loader.seed=1")) == tmp_path / "disk.before_1"
    assert link.is_symlink()
    assert list(link.iterdir()) == []
    assert read_spec(tmp_path / "disk.before_1") == wanted()


def test_move_aside__a_finished_training_on_other_ranks(tmp_path: Path) -> None:
    """One that is not finished resumes."""
    directory = tmp_path / "model"
    open_or_resume(directory, wanted("ranks=1"))
    assert move_aside(directory, wanted("ranks=2")) is None
    open_or_resume(directory, wanted("ranks=2"))
    assert move_aside(directory, wanted("ranks=1")) is None
    (directory / "model.safetensors").touch()
    assert move_aside(directory, wanted("ranks=2")) is None
    assert move_aside(directory, wanted("ranks=1")) == tmp_path / "model.before_1"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"model": "a"}', '{"model": "a", "dataset": "b", "settings": 3}']
)
def test_read_spec__a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run_spec.json").write_text(text)
    assert read_spec(tmp_path) is None
