"""What a training may change when it is taken up, and what makes it another one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interactrank.data.settings import LoaderSettings
from interactrank.runs.run_directory import FREE, ModelFolderError, claim, former, origin, release
from interactrank.training.settings import TrainingSettings
from tests.trained import config

LOG: Any = SimpleNamespace(manifest={"fingerprint": "a"})


def wanted(*overrides: str) -> dict[str, Any]:
    return origin("interactrank", config(*overrides), LOG)


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
    claim(tmp_path, wanted())
    for change in CHANGES:
        claim(tmp_path, wanted(change))
    assert release(tmp_path, wanted(*CHANGES)) == []
    assert FREE["training"] <= set(TrainingSettings.model_fields)
    assert FREE["loader"] <= set(LoaderSettings.model_fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.dense_optimizer.lr=0.5", r"training\.dense_optimizer\.lr was [\d.]+ and is 0\.5"),
        ("loader.seed=4", r"loader\.seed was 0 and is 4"),
    ],
)
def test_what_decides_about_the_weights_may_not(tmp_path: Path, change: str, said: str) -> None:
    claim(tmp_path, wanted())
    with pytest.raises(ModelFolderError, match=f"with other settings: {said}. Take those to go on with it"):
        claim(tmp_path, wanted(change, *CHANGES))


def test_another_preparation_of_the_log_is_another_training(tmp_path: Path) -> None:
    claim(tmp_path, wanted())
    with pytest.raises(ModelFolderError, match="the log was prepared anew"):
        claim(tmp_path, wanted() | {"prepared": "b"})


def test_a_folder_of_something_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")  # of a prepared log, or of an export
    with pytest.raises(ModelFolderError, match=r"holds manifest\.json and no origin\.json"):
        claim(tmp_path, wanted())


def test_a_training_that_is_replaced_is_kept_once(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for seed in (0, 1, 2):
        changed = release(folder, wanted(f"loader.seed={seed}"))
        assert changed == ([] if seed == 0 else [f"loader.seed was {seed - 1} and is {seed}"])
        claim(folder, wanted(f"loader.seed={seed}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.before"]
    kept = json.loads((former(folder) / "origin.json").read_text())
    assert kept["settings"]["loader"]["seed"] == 1


def test_a_finished_training_on_other_ranks_is_replaced_one_under_way_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    claim(folder, wanted("ranks=1"))
    assert release(folder, wanted("ranks=2")) == []
    claim(folder, wanted("ranks=2"))
    assert release(folder, wanted("ranks=1")) == []
    (folder / "model.safetensors").touch()
    assert release(folder, wanted("ranks=2")) == []
    assert release(folder, wanted("ranks=1")) == ["ranks was 2 and is 1"]
