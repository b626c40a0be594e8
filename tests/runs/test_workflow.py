"""The verbs: from a raw log to metrics.json, what a second run keeps, and what must not be taken for it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from interactrank.checkpoint.weights import load_model
from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank
from interactrank.runs import training
from interactrank.runs.config import RunConfig, load_config
from interactrank.runs.datasets import prepare_dataset, simulate_log
from interactrank.runs.evaluation import evaluate_models
from interactrank.runs.run_directory import RunDirectoryError, open_model
from interactrank.runs.training import train_model
from interactrank.runs.workflow import Training, run_models
from interactrank.training.metrics_log import read_metrics
from tests.data import logs
from tests.ranks import run_ranks
from tests.trained import VALUES, config, raw_log

HEADLINE = ["hit@3", "hit@10", "mrr", "ndcg@10", "recall@100", "auc"]


class Launch:
    """Trains in this process, and keeps account."""

    def __init__(self) -> None:
        self.models: list[str] = []

    def __call__(self, job: Training, data: Path, config_file: Path) -> None:
        self.models.append(job.model)
        train_model(job.config, data, job.directory, model=job.model)


def run(config: RunConfig, data: Path | None, output: Path) -> tuple[list[str], dict[str, Any]]:
    """(models that were trained, the report)."""
    launch = Launch()
    run_models(config, data, output, launch=launch).show()
    return launch.models, json.loads((output / "metrics.json").read_text())


def evaluated(config: RunConfig, data: Path, model_dirs: list[Path], output: Path) -> dict[str, Any]:
    """The report of an evaluation."""
    evaluate_models(config, data, model_dirs, output).show()
    return json.loads((output / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(raw log, folder of a finished run)."""
    folder = Path(tmp_path_factory.mktemp("run"))
    log, output = raw_log(folder / "log"), folder / "out"
    trained, _ = run(config(), log, output)
    assert trained == ["interactrank", "two_tower"]
    return log, output


@pytest.mark.slow
def test_the_report_of_a_run(finished: tuple[Path, Path]) -> None:
    _, output = finished
    report = json.loads((output / "metrics.json").read_text())
    assert list(report["models"]) == ["interactrank", "two_tower", "bm25"]
    for metrics in report["models"].values():
        assert set(HEADLINE) <= set(metrics)
        for name, found in metrics.items():
            assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1, name
    assert report["data"]["requests"] == PreparedDataset(output / "prepared").num_requests("test")
    assert report["data"]["optimum"] == {}
    assert {"interactrank", "torch", "torchrec"} <= set(report["versions"])
    assert set(report["paired"]) == {"interactrank - two_tower", "interactrank - bm25"}
    assert set(report["slices"]["interactrank"]) == {"query", "frequency", "history", "country"}
    files = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    assert {
        "config.yaml", "metrics.json", "comparison.png",
        "training_interactrank.png", "training_two_tower.png",
        "interactrank/model.safetensors", "interactrank/config.yaml", "interactrank/metrics.jsonl",
        "two_tower/model.safetensors", "prepared/manifest.json",
    } <= files  # fmt: skip
    assert not [name for name in files if name.endswith(".png") and not (output / name).stat().st_size]


@pytest.mark.slow
def test_a_second_run_trains_nothing_and_finds_the_same(finished: tuple[Path, Path]) -> None:
    log, output = finished
    before = json.loads((output / "metrics.json").read_text())
    weights = (output / "interactrank/model.safetensors").stat().st_mtime_ns
    trained, report = run(config(), log, output)
    assert trained == []
    assert (output / "interactrank/model.safetensors").stat().st_mtime_ns == weights
    assert report == before
    # How it is evaluated is no matter of the training.
    assert run(config("evaluation.ks=[3]"), log, output)[0] == []
    assert run(config(), log, output)[1] == before


@pytest.mark.slow
def test_what_changes_a_model_retrains_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, output = raw_log(tmp_path / "log"), tmp_path / "out"
    only = ("models=[interactrank]",)
    assert run(config(*only), log, output)[0] == ["interactrank"]
    weights = output / "interactrank/model.safetensors"
    first = weights.read_bytes()

    assert run(config(*only, "training.seed=1"), log, output)[0] == ["interactrank"]
    told = caplog.text
    assert "interactrank: training.seed was 0 and is 1. Retraining; the previous model was moved to" in told
    assert weights.read_bytes() != first

    assert run(config(*only), log, output)[0] == ["interactrank"]
    assert weights.read_bytes() == first  # the same seed

    raw_log(tmp_path / "log", requests=61)
    assert run(config(*only), log, output)[0] == ["interactrank"]
    assert "the dataset has changed" in caplog.text
    assert weights.read_bytes() != first


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    log, output = raw_log(tmp_path / "log"), tmp_path / "out"
    settings = config("models=[interactrank]", "training.steps=4", "training.checkpoint_every=1")

    class Stopped(Exception):
        pass

    def stop(job: Training, data: Path, config_file: Path) -> None:
        """Trains three steps, as if killed then."""
        original = training.train

        def few(*arguments: Any, **options: Any) -> None:
            loader = arguments[1]
            whole = loader._batches
            count = 0

            def batches(*place: Any) -> Any:
                nonlocal count
                for batch in whole(*place):
                    count += 1
                    if count > 3:
                        raise Stopped
                    yield batch

            loader._batches = batches
            original(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "train", few)
            train_model(settings, data, job.directory, model=job.model)

    with pytest.raises(Stopped):
        run_models(settings, log, output, launch=stop)
    rows = read_metrics(output / "interactrank/metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert run(settings, log, output)[0] == ["interactrank"]
    assert read_metrics(output / "interactrank/metrics.jsonl")[:3] == rows
    assert len(read_metrics(output / "interactrank/metrics.jsonl")) == 4


def test_a_folder_that_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    """Such as the folder of the sources, which is called like a model."""
    log, output = raw_log(tmp_path / "log"), tmp_path / "out"
    theirs = output / "interactrank" / "precious.py"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    run(config("models=[interactrank]"), log, output)
    assert theirs.read_text() == "mine"

    unknown = tmp_path / "other" / "interactrank" / "model.safetensors"
    unknown.parent.mkdir(parents=True)
    unknown.write_text("whose?")
    with pytest.raises(RunDirectoryError, match=r"it has model\.safetensors but no run_spec\.json; name"):
        run(config("models=[interactrank]"), log, tmp_path / "other")
    assert unknown.read_text() == "whose?"


def test_a_model_is_evaluated_as_it_was_trained_and_says_so(
    finished: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, output = finished
    runs = [output / "interactrank"]
    evaluated(config(), output / "prepared", runs, tmp_path)
    assert "ignored from this config" not in caplog.text
    evaluated(config("model.table_std=0.25"), output / "prepared", runs, tmp_path)
    told = caplog.text
    assert (
        "interactrank keeps the settings it was trained with; ignored from this config: model.table_std was"
        in told
    )
    assert "and is 0.25" in told


def test_a_model_is_only_what_it_was_trained_as(finished: tuple[Path, Path], tmp_path: Path) -> None:
    _, output = finished
    prepared, folder = output / "prepared", output / "interactrank"
    with pytest.raises(RunDirectoryError, match=r"training\.seed was 0 and is 5"):
        train_model(config("training.seed=5"), prepared, folder)
    with pytest.raises(RunDirectoryError, match='model was "interactrank" and is "two_tower"; model'):
        train_model(config(), prepared, folder, model="two_tower")
    with pytest.raises(RunDirectoryError, match="both hold the model interactrank; compare two directories"):
        evaluated(config(), prepared, [folder, folder], tmp_path)
    with pytest.raises(RunDirectoryError, match="holds no trained model"):
        evaluated(config(), prepared, [tmp_path], tmp_path)
    other = logs.write_log(tmp_path / "log", *logs.random_log(3, requests=50))
    prepare_dataset(config(), other, tmp_path / "prepared")
    with pytest.raises(RunDirectoryError, match="was trained on another dataset than"):
        evaluated(config(), tmp_path / "prepared", [folder], tmp_path)


def test_a_model_is_evaluated_with_the_settings_of_its_training(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    """Not with those at hand: another width would not fit, another rate without history would not show."""
    _, output = finished
    changed = config("model.cross_features.priors={iqp: 0.5}", "model.dim=16", "models=[interactrank, bm25]")
    runs = [output / "interactrank"]
    report = evaluated(changed, output / "prepared", runs, tmp_path)
    expected = json.loads((output / "metrics.json").read_text())["models"]["interactrank"]
    assert report["models"]["interactrank"] == expected


def test_what_is_evaluated(finished: tuple[Path, Path], tmp_path: Path) -> None:
    prepared = finished[1] / "prepared"
    assert list(evaluated(config(), prepared, [], tmp_path)["models"]) == ["bm25"]
    runs = [finished[1] / "two_tower"]  # although the config does not name it
    found = evaluated(config("models=[interactrank]"), prepared, runs, tmp_path)
    assert list(found["models"]) == ["two_tower"]
    with pytest.raises(ConfigError, match="nothing to evaluate: name trained models with --model-dir"):
        evaluated(config("models=[interactrank]"), prepared, [], tmp_path)


@pytest.mark.slow
def test_a_variant_is_trained_and_compared_as_a_model_of_its_own(tmp_path: Path) -> None:
    plain = "variants={plain: {model: {use_sequence: false, exclude_features: [query_click]}}}"
    wanted = config(plain, "models=[interactrank, plain, counts]", "training.steps=2")
    trained, report = run(wanted, raw_log(tmp_path / "log"), tmp_path / "out")
    assert trained == ["interactrank", "plain"]
    assert list(report["models"]) == ["interactrank", "plain", "counts"]
    assert set(report["paired"]) == {"interactrank - plain", "interactrank - counts"}
    name, model = open_model(tmp_path / "out" / "plain", PreparedDataset(tmp_path / "out" / "prepared"))
    assert name == "plain"
    assert model.sequence is None
    assert len(model.score_head.reads) == len(wanted.search.cross_features) - 1
    with pytest.raises(ConfigError, match="no model 'plian' to train; did you mean 'plain'"):
        train_model(wanted, tmp_path / "out" / "prepared", tmp_path / "other", model="plian")
    assert not (tmp_path / "other").exists()


def test_another_schema_than_the_prepared_one(finished: tuple[Path, Path], tmp_path: Path) -> None:
    other = config("schema.impression_weight=0.7")
    for job in (
        lambda: train_model(other, finished[1] / "prepared", tmp_path / "model"),
        lambda: evaluated(other, finished[1] / "prepared", [], tmp_path),
    ):
        with pytest.raises(DatasetError, match="was prepared with another schema"):
            job()


def test_looking_while_training(finished: tuple[Path, Path], tmp_path: Path) -> None:
    settings = config("training.validate_every=1")
    train_model(settings, finished[1] / "prepared", tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert all({f"validation/{m}" for m in HEADLINE} <= row.keys() for row in rows)
    assert len(rows) == 2


def _train(values: RunConfig, data: Path, output: Path) -> list[dict[str, float]]:
    train_model(values, data, output)
    return read_metrics(output / "metrics.jsonl")


@pytest.mark.slow
def test_looking_while_training_on_two_ranks(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """The metrics at the end are those of the saved model in one process."""
    prepared = finished[1] / "prepared"
    settings = config("training.validate_every=2")
    first, second = run_ranks(2, _train, settings, prepared, tmp_path / "model")
    assert first == second
    validation = config("evaluation.split=validation", "models=[interactrank]")
    report = evaluated(validation, prepared, [tmp_path / "model"], tmp_path)
    for name in HEADLINE:
        value = report["models"]["interactrank"][name]["value"]
        assert first[-1][f"validation/{name}"] == pytest.approx(value, abs=1e-12), name


def test_looking_needs_validation_requests_and_says_so_before_training(tmp_path: Path) -> None:
    log = raw_log(tmp_path / "log")
    none = config("prepare.split.validation_share=0", "training.validate_every=1")
    prepare_dataset(none, log, tmp_path / "prepared")
    with pytest.raises(DatasetError, match=r"training\.validate_every needs validation requests, one a rank"):
        train_model(none, tmp_path / "prepared", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_table_called_like_a_method_of_torch(tmp_path: Path) -> None:
    """With its sharding chosen by the name that the config gives it."""
    text = (
        json.dumps(VALUES)
        .replace('"table": "item"', '"table": "items"')
        .replace('"item": {"dim"', '"items": {"dim"')
    )
    values = apply_overrides(json.loads(text), ["training.sharding={items: {types: [row_wise]}}"])
    settings = parse_config(RunConfig, values)
    assert "items" in settings.search.tables
    _, report = run(settings, raw_log(tmp_path / "log"), tmp_path / "out")
    assert list(report["models"]) == ["interactrank", "two_tower", "bm25"]


def test_per_user_means_are_shown_where_asked_for(
    finished: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [finished[1] / "interactrank"]
    report = evaluated(config("evaluation.by_user=true"), finished[1] / "prepared", runs, tmp_path)
    shown = capsys.readouterr().out
    for title in (
        "test, logged candidates",
        "queries seen in training, and others",
        "every user counts once",
    ):
        assert title in shown
    assert re.search(r"interactrank - bm25: HIT@3 [+-]\.?\d.*, AUC ", shown)
    assert list(report["per_user"]) == ["interactrank", "bm25"]
    found = report["per_user"]["bm25"]["mrr"]
    assert found["requests"] <= 7  # users of the log


def test_a_simulated_log_has_an_optimum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["users=40", "items=120", "intents=10", "topics=4", "requests=300", "pool=30"]
    overrides = [f"simulate.{s}" for s in small]
    overrides += [
        "simulate.candidates_min=5",
        "simulate.candidates_max=10",
        "models=[bm25]",
        "prepare.threads=1",
    ]
    settings = load_config("interactrank/configs/demo.yaml", [*overrides, "evaluation.resamples=100"])
    _, report = run(settings, None, tmp_path)
    optimum, bm25 = report["data"]["optimum"], report["models"]["bm25"]
    assert 0 < bm25["hit@3"]["value"] <= optimum["hit@3"] <= 1
    assert 0 < bm25["mrr"]["value"] < optimum["mrr"] < 1
    share = report["data"]["share_of_optimum"]["bm25"]["hit@3"]
    assert share == pytest.approx(bm25["hit@3"]["value"] / optimum["hit@3"])
    shown = capsys.readouterr().out
    assert "optimum" in shown
    assert f"share of the optimum, HIT@3: bm25 {share:.1%}" in shown
    made = (tmp_path / "log/events.parquet").stat().st_mtime_ns
    assert run(settings, None, tmp_path)[1] == report
    assert (tmp_path / "log/events.parquet").stat().st_mtime_ns == made  # not simulated again


def test_simulate_needs_its_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no section simulate; give a log with --data"):
        simulate_log(config(), tmp_path)


def test_the_saved_weights_are_those_of_the_model(finished: tuple[Path, Path]) -> None:
    log = PreparedDataset(finished[1] / "prepared")
    _, loaded = open_model(finished[1] / "interactrank", log)
    assert not loaded.training
    again = InteractRank(layout=log.layout, settings=config().model)
    load_model(again, finished[1] / "interactrank/model.safetensors")
    for name, value in again.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
