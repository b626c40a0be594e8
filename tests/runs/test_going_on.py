"""A model is evaluated on any dataset of its lineage, and goes on with the days that were appended."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from interactrank.checkpoint.manifest import CheckpointError
from interactrank.cli import main
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers import ModelScorer
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import append_to_dataset, prepare_dataset
from interactrank.runs.run_directory import RunDirectoryError, open_model
from interactrank.runs.training import train_model
from tests.data import logs
from tests.data.prepare.test_append import by_day
from tests.models.search import requests
from tests.trained import config

KEEP = (
    "prepare.keep_log=true",
    "prepare.split={test_from: '2024-02-25', validation_from: '2024-02-20'}",
    "training.steps=6",
)


def settings(*overrides: str) -> RunConfig:
    return config(*KEEP, *overrides)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset `first`, a model on it, and `later`, which has grown from it."""
    folder = Path(tmp_path_factory.mktemp("days"))
    events, items, users = logs.random_log(3, requests=70)
    for e in events[-30:]:
        e["query"] = "purple scarf"
    one, other = by_day(sorted(events, key=lambda e: e["timestamp"]), [30])
    prepare_dataset(settings(), logs.write_log(folder / "log", one, items, users), folder / "first")
    train_model(settings(), folder / "first", folder / "model")
    shutil.copytree(folder / "first", folder / "later")
    append_to_dataset(settings(), logs.write_log(folder / "day", other, items, users), folder / "later")
    return folder


def scores(model: Path, data: Path, ids: set[str] | None = None) -> dict[tuple[str, str], float]:
    """Score of each logged candidate of the train split."""
    log = PreparedDataset(data)
    train = requests(log, "train")
    found = ModelScorer(open_model(model, log)[1], log, 0, torch.device("cpu"))(
        train, train.positions("candidates")
    )
    names = log.read("train", ["request_id"])["request_id"].to_pylist()
    candidates = train.positions("candidates")
    of = np.repeat(np.array(names), candidates.lengths)
    keys = [(r, log.items.ids[i]) for r, i in zip(of, candidates.values, strict=True)]
    return {k: s for k, s in zip(keys, found.tolist(), strict=True) if ids is None or k[0] in ids}


def test_the_same_scores_before_and_after_the_append(days: Path) -> None:
    first, later = PreparedDataset(days / "first"), PreparedDataset(days / "later")
    assert later.layout.table_rows["query"] > first.layout.table_rows["query"]
    before = scores(days / "model", days / "first")
    after = scores(days / "model", days / "later", {request for request, _ in before})
    assert before.keys() == after.keys()
    assert max(abs(before[k] - after[k]) for k in before) < 1e-6


def test_a_later_model_on_the_dataset_before(days: Path) -> None:
    train_model(settings("training.steps=2"), days / "later", days / "later_model")
    assert len(scores(days / "later_model", days / "first")) > 20


def test_training_goes_on(days: Path) -> None:
    go_on = settings("training.steps=4", "loader.since='2024-02-01'", "loader.batch_requests=4")
    out = days / "continued"
    train_model(go_on, days / "later", out, start_from=days / "model")
    spec = json.loads((out / "run_spec.json").read_text())
    assert spec["started_from"] is not None
    log = PreparedDataset(days / "later")
    tables = [open_model(p, log)[1].state_dict() for p in (days / "model", out)]
    word = next(k for k in tables[0] if "events" in k and "query" in k)
    old, new = tables[0][word], tables[1][word]
    known = PreparedDataset(days / "first").layout.table_rows["query"]
    assert torch.equal(old[known], old[0])  # a value that the model does not know is row 0
    moved = (old != new).any(1)
    assert 0 < moved.sum() < len(old)  # most rows have had no step of their own
    train_model(go_on, days / "later", out, start_from=days / "model")  # done already: nothing happens
    with pytest.raises(RunDirectoryError, match="the model that the training goes on from has changed"):
        train_model(go_on, days / "later", out)


def test_what_does_not_go_together(days: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="cannot go on with other settings"):
        train_model(settings("model.dim=4"), days / "later", tmp_path / "a", start_from=days / "model")
    with pytest.raises(RunDirectoryError, match="trained on a later dataset"):
        train_model(settings(), days / "first", tmp_path / "b", start_from=days / "later_model")
    other = tmp_path / "other"
    prepare_dataset(settings("prepare.keep_log=false"), days / "log", other)
    with pytest.raises(RunDirectoryError, match="another dataset"):
        open_model(days / "model", PreparedDataset(other))
    with pytest.raises(RunDirectoryError, match="holds no trained model"):
        train_model(settings(), days / "later", tmp_path / "c", start_from=tmp_path)
    shutil.copytree(days / "model", tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "checkpoints")
    with pytest.raises(RunDirectoryError, match="has no checkpoint"):
        train_model(settings(), days / "later", tmp_path / "d", start_from=tmp_path / "bare")
    other_optimizer = settings("training.table_optimizer={name: adagrad, lr: 0.1}")
    with pytest.raises(CheckpointError, match="Train with the settings that made it"):
        train_model(other_optimizer, days / "later", tmp_path / "e", start_from=days / "model")
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_from_the_command_line(days: Path, tmp_path: Path) -> None:
    config_file, data = str(tmp_path / "c.yaml"), str(tmp_path / "data")
    Path(config_file).write_text(settings("evaluation.split=validation").dump())

    def run(verb: str, *arguments: str) -> None:
        assert main([verb, config_file, *arguments]) == 0

    run("prepare", "--data", str(days / "log"), "--output", data, "prepare.split={test_share: 0}")
    run("train", "--data", data, "--output", str(tmp_path / "one"))
    run("prepare", "--data", str(days / "day"), "--append", data)
    run("train", "--data", data, "--output", str(tmp_path / "two"), "--from", str(tmp_path / "one"))
    for model in ("one", "two"):
        out = tmp_path / f"report_{model}"
        run("evaluate", "--data", data, "--output", str(out), "--model-dir", str(tmp_path / model))
        report = json.loads((out / "metrics.json").read_text())
        assert "interactrank" in report["models"]
