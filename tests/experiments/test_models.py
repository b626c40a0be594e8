"""How the models of a grid are trained: in this process, or by torchx on several ranks."""

import sys
from pathlib import Path
from typing import Any

import pytest

from interactrank.experiments.job import ablate_job
from interactrank.experiments.models import train_model
from interactrank.runs import jobs
from interactrank.runs.config import load_config
from tests.trained import config, raw_log


def test_errors_keep_their_own_words_after_many_trainings(tmp_path: Path) -> None:
    """torch.distributed puts "[rank0]: " before errors, once more for each training in a process."""
    before = sys.excepthook
    settings = config("ranks=1")
    jobs.prepare_job(settings, raw_log(tmp_path / "log"), tmp_path / "prepared")
    train_model("interactrank", settings, tmp_path / "prepared", tmp_path / "model")
    assert (tmp_path / "model/model.safetensors").exists()
    assert sys.excepthook is before


def test_ranks_are_launched_with_the_seeds_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond one rank, torchx trains from the ablation's config, with the settings of this process."""
    only = ["plain_two_tower", "full"]
    calls: list[dict[str, Any]] = []

    def launch_training(**options: Any) -> None:
        calls.append(options)
        given = load_config(options["config"], options["overrides"])
        assert given.ranks == options["ranks"] == 2
        jobs.train_job(given, options["data"], options["output"], model=options["model"])

    monkeypatch.setattr("interactrank.runs.launch.launch_training", launch_training)
    report = ablate_job(config(), raw_log(tmp_path / "log"), tmp_path / "out", seeds=2, only=only)
    assert [(c["model"], c["overrides"]) for c in calls] == [
        (name, (f"training.seed={seed}", f"loader.seed={seed}")) for seed in (0, 1) for name in only
    ]
    assert list(report["models"]) == only
