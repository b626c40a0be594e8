"""A tuning, from a raw log to its report, in this process; trials are trained for two steps."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interactrank.cli import main
from interactrank.core.errors import TrainingError
from interactrank.core.extras import MissingExtraError
from interactrank.core.overrides import apply_overrides
from interactrank.core.search_space import Range
from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.preemption import PreemptedError
from interactrank.evaluation.scorers.registry import BASELINES, Baseline
from interactrank.experiments.tuning import tune as tuning
from interactrank.experiments.tuning.tune import TuningError
from interactrank.runs.config import RunConfig, load_config
from interactrank.runs.evaluation import evaluate_models
from interactrank.runs.training import train_model
from interactrank.runs.workflow import Training, start
from interactrank.training.monitor import NonFiniteLossError
from tests.data import logs
from tests.trained import VALUES, config, raw_log

SPACE = (
    "tuning.space={training.table_optimizer.lr: {low: 0.001, high: 1, log: true}, "
    "model.*_tower.dropout: {low: 0, high: 0.5}, model.dim: [8, 16]}"
)
SMALL = ("ranks=1", "tuning.default_space=false", SPACE, "evaluation.ks=[1, 3]", "tuning.metric=mrr")


class Launch:
    """Trains in this process and keeps account; some trials fail."""

    def __init__(self, failing: dict[int, Exception | KeyboardInterrupt] | None = None) -> None:
        self.failing = failing or {}
        self.trained: list[int] = []

    def __call__(self, job: Training, data: Path, config_file: Path) -> None:
        number = int(job.directory.name)
        if number in self.failing:
            raise self.failing[number]
        start(job, data, config_file)
        self.trained.append(number)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_log(Path(tmp_path_factory.mktemp("log")))


def tune(
    log: Path | None, output: Path, *overrides: str, launch: Launch | None = None, **options: Any
) -> Any:
    launch = launch or Launch()
    options = {"trials": 3, **options}
    report = tuning.tune(config(*SMALL, *overrides), log, output, launch=launch, **options)
    return launch.trained, report


@pytest.fixture(scope="module")
def finished(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(folder, report) of a finished tuning."""
    output = Path(tmp_path_factory.mktemp("tune"))
    trained, report = tune(log, output)
    assert trained == [0, 1, 2]
    return output, report


def test_what_it_writes(finished: tuple[Path, dict[str, Any]]) -> None:
    output, report = finished
    folder = output / "interactrank"
    assert json.loads((folder / "trials.json").read_text()) == report
    assert [trial["state"] for trial in report["trials"]] == ["complete"] * 3
    values = [trial["value"] for trial in report["trials"]]
    assert report["best"]["value"] == max(values)
    assert report["given"] == {key: report["trials"][0][key] for key in ("trial", "value", "settings")}
    assert report["given_settings"] == {
        "training.table_optimizer.lr": 0.05, "model.*_tower.dropout": 0.0, "model.dim": 8,
    }  # fmt: skip
    assert report["metric"] == "mrr"
    assert report["data"]["split"] == "validation"
    assert str(output) not in json.dumps(report)
    page = (folder / "trials.md").read_text()
    assert page.startswith("# Tuning of interactrank\n\nMRR ")
    assert "| model.*_tower.dropout | 0 |" in page


def test_tuned_yaml__is_the_config_with_the_best_settings(finished: tuple[Path, dict[str, Any]]) -> None:
    output, report = finished
    text = (output / "tuned.yaml").read_text()
    best = report["best"]["settings"]
    assert f"# interactrank: mrr {report['best']['value']:.4f} of trial {report['best']['trial']}" in text
    tuned, given = load_config(output / "tuned.yaml"), config(*SMALL)
    assert tuned.training.table_optimizer.lr == best["training.table_optimizer.lr"]
    assert tuned.model.item_tower.dropout == best["model.*_tower.dropout"]
    assert tuned.model.dim == best["model.dim"]
    assert tuned.evaluation == given.evaluation  # the test split again
    assert tuned.training.steps == given.training.steps


def test_the_value_of_a_trial_is_what_a_training_of_its_config_reaches(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """On the validation requests; and only the best trial keeps its weights."""
    output, report = finished
    best = report["best"]["trial"]
    kept = [path.parent.name for path in sorted((output / "interactrank/trials").glob("*/model.safetensors"))]
    assert kept == [f"{best:04d}"]
    tuned = load_config(output / "tuned.yaml", ["evaluation.split=validation", "models=[interactrank]"])
    train_model(tuned, output / "prepared", tmp_path / "model")
    found = evaluate_models(tuned, output / "prepared", [tmp_path / "model"], tmp_path / "report")
    assert found.models["interactrank"]["mrr"].value == pytest.approx(report["best"]["value"], abs=1e-12)


def test_a_second_start_tries_what_is_missing(
    log: Path, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output, report = finished
    assert tune(log, output)[0] == []
    trained, more = tune(log, output, trials=4)
    assert trained == [3]
    assert more["trials"][:3] == report["trials"]


def test_a_tuning_that_was_killed_goes_on_as_if_it_had_not_been(
    log: Path, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, report = finished
    for stop in (KeyboardInterrupt(), PreemptedError("asked to stop (SIGTERM)")):
        with pytest.raises(type(stop)):
            tune(log, tmp_path, launch=Launch({1: stop}))
    assert not (tmp_path / "tuned.yaml").exists()
    trained, again = tune(log, tmp_path)
    assert trained == [1, 2]
    for one, other in zip(again["trials"], report["trials"], strict=False):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_settings_that_were_tried_are_not_tried_again(log: Path, tmp_path: Path) -> None:
    """Two settings can be told apart; ten trials are asked for."""
    space = "tuning.space={model.dim: [8, 16]}"
    trained, report = tune(log, tmp_path, space, trials=10)
    states = [trial["state"] for trial in report["trials"]]
    assert len(trained) == states.count("complete") == 2
    assert states.count("same") == tuning._REPEATS
    of = {trial["settings"]["model.dim"]: trial["value"] for trial in report["trials"][:1]}
    assert all(of.get(t["settings"]["model.dim"], t["value"]) == t["value"] for t in report["trials"])


def test_a_trial_that_diverges_or_fails_is_not_the_end(
    log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing: dict[int, Any] = {
        0: NonFiniteLossError("step 1: the loss or a gradient is not finite.\nrank 0: loss nan"),
        2: TrainingError("cannot be trained\nfor these reasons"),
        3: RuntimeError(""),
    }
    trained, report = tune(log, tmp_path, trials=5, launch=Launch(failing))
    assert trained == [1, 4]
    states = [(trial["state"], trial["why"]) for trial in report["trials"]]
    assert states == [
        ("diverged", "step 1: the loss or a gradient is not finite."),
        ("complete", ""),
        ("failed", "cannot be trained"),
        ("failed", "RuntimeError"),
        ("complete", ""),
    ]
    assert report["given"] is None
    assert "trial 1 of 5, 0 s: diverged: step 1" in caplog.text
    assert "2 trials failed: cannot be trained" in (tmp_path / "interactrank/trials.md").read_text()


def test_a_rate_at_which_the_loss_overflows_is_a_trial_that_diverged(log: Path, tmp_path: Path) -> None:
    space = "tuning.space={model.initial_dot_weight: [5.0, 3.0e+38]}"
    _, report = tune(log, tmp_path, space, "model.initial_dot_weight=5.0", trials=2)
    states = {t["settings"]["model.initial_dot_weight"]: t["state"] for t in report["trials"]}
    assert states[5.0] == "complete"
    assert states[3e38] in ("diverged", "failed")


def test_a_tuning_without_hope_ends_early(log: Path, tmp_path: Path) -> None:
    launch = Launch({n: TrainingError("no disk") for n in range(9)})
    with pytest.raises(TuningError, match="the first 3 trials failed, so that no other is tried: no disk; "):
        tune(log, tmp_path, trials=9, launch=launch)
    diverging = Launch({n: NonFiniteLossError("step 1: nan") for n in range(2)})
    with pytest.raises(TuningError, match="no trial could be measured: step 1: nan"):
        tune(log, tmp_path / "other", trials=2, launch=diverging)


def test_other_settings_are_another_tuning(
    log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tune(log, tmp_path, trials=1)
    trained, _ = tune(log, tmp_path, "training.clip_norm=3", trials=1)
    assert trained == [0]
    assert "training.clip_norm was null and is 3.0. A new tuning begins" in caplog.text
    assert (tmp_path / "interactrank/trials.before_1/study.journal").exists()
    assert (tmp_path / "interactrank/trials.before_1/trials/0000/outcome.json").exists()


def test_several_models_share_the_dataset_and_the_file(log: Path, tmp_path: Path) -> None:
    tune(log, tmp_path, model="two_tower", trials=2)
    tune(log, tmp_path, trials=2)
    tuned = load_config(tmp_path / "tuned.yaml")
    for model in ("interactrank", "two_tower"):
        best = json.loads((tmp_path / model / "trials.json").read_text())["best"]["settings"]
        own = tuned.for_model(model)
        assert own.training.table_optimizer.lr == best["training.table_optimizer.lr"]
        assert own.model.dim == best["model.dim"]
    header = [line for line in (tmp_path / "tuned.yaml").read_text().split("\n") if line.startswith("#")]
    assert [line.split(":")[0] for line in header[2:]] == ["# interactrank", "# two_tower"]


@pytest.fixture
def newest() -> Iterator[str]:
    """A baseline that has a search space; what it varies is a setting that no model has."""
    space = {"evaluation.seed": Range(low=0, high=99)}
    BASELINES.add(
        "own_counts",
        Baseline(name="own_counts", title="mine", factory=BASELINES["counts"].factory, search_space=space),
    )
    yield "own_counts"
    BASELINES.remove("own_counts")


def test_a_baseline_with_a_search_space_is_measured_without_a_training(
    newest: str, log: Path, tmp_path: Path
) -> None:
    report = tuning.tune(config(*SMALL, "tuning.default_space=true"), log, tmp_path, model=newest, trials=3)
    assert list(report["space"]) == ["evaluation.seed"]  # what the config says of models does not count
    assert [trial["state"] for trial in report["trials"]] == ["complete"] * 3
    assert load_config(tmp_path / "tuned.yaml", ["models=[interactrank]"])


@pytest.mark.parametrize(
    ("overrides", "options", "error", "message"),
    [
        ([], {"trials": 0}, ConfigError, "--trials 0: at least 1 is needed"),
        ([], {"model": "intreact"}, ConfigError, "no model 'intreact' to tune"),
        ([], {"model": "bm25"}, ConfigError, "there is nothing to tune for bm25: its search space is empty"),
        (["tuning.metric=mmr"], {}, ConfigError, "tuning.metric: no metric 'mmr'; did you mean 'mrr'"),
        (["tuning.metric=hit@5"], {}, ConfigError, "no metric 'hit@5'; .*evaluation.ks sets the cut-offs"),
        (
            ["prepare.split.validation_share=0"],
            {},
            DatasetError,
            "the validation period, which a tuning judges on, is empty: set prepare.split.validation_share",
        ),
        (
            ["prepare.split={test_from: 2024-01-02}"],
            {},
            DatasetError,
            "prepare.split.validation_from before test_from",
        ),
        ([], {}, ConfigError, "the config has no section simulate; give a log with --data"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(
    overrides: list[str], options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        tune(None, tmp_path / "out", *overrides, **options)
    assert not (tmp_path / "out").exists()


def test_a_log_without_validation_requests(log: Path, tmp_path: Path) -> None:
    tiny = "prepare.split={validation_share: 0.001, test_share: 0.2}"
    with pytest.raises(
        DatasetError, match="the validation period, which a tuning judges on, is empty: the log"
    ):
        tune(log, tmp_path, tiny)


def test_a_log_that_is_split_into_train_and_test_alone(log: Path, tmp_path: Path) -> None:
    """The last of the train requests validate in the trials; the config trains on them again."""
    values = {**VALUES, "schema": logs.SCHEMA, "prepare": {"threads": 1}}
    given = parse_config(RunConfig, apply_overrides(values, [*SMALL, "tuning.validation_of_train=0.3"]))
    tuning.tune(given, log, tmp_path / "out", trials=1)
    requests = PreparedDataset(tmp_path / "out/prepared").manifest["requests"]
    trained = requests["train"] + requests["validation"]
    assert requests["test"] == 60 - trained
    assert 0.3 * trained - 1 <= requests["validation"] <= 0.4 * trained
    assert load_config(tmp_path / "out/tuned.yaml").prepare == given.prepare
    without = given.model_copy(update={"tuning": given.tuning.model_copy(update={"validation_of_train": 0})})
    with pytest.raises(DatasetError, match=r"tuning\.validation_of_train above 0"):
        tuning.tune(without, log, tmp_path / "other", trials=1)


def test_without_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str, extra: str) -> Any:
        raise MissingExtraError(package, extra)

    monkeypatch.setattr(tuning, "require", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'interactrank\[tune\]'"):
        tune(None, tmp_path / "out")


@pytest.mark.slow
def test_the_command_line_on_a_simulated_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["users=40", "items=120", "intents=10", "topics=4", "requests=300", "pool=30"]
    small += ["candidates_min=5", "candidates_max=10"]
    command = ["tune", "interactrank/configs/demo.yaml", "--output", str(tmp_path), "--trials", "5"]
    command += [f"simulate.{s}" for s in small]
    command += ["prepare.threads=1", "training.steps=3", "training.validate_every=null", "ranks=1"]
    assert main([*command, "--model", "two_tower"]) == 0
    said = capsys.readouterr()
    assert "trial 5 of 5, " in said.err
    assert "Tuning of two_tower" in said.out
    assert "The best trials" in said.out
    assert math.isclose(
        sum(json.loads((tmp_path / "two_tower/trials.json").read_text())["importance"].values()), 1
    )
    assert isinstance(load_config(tmp_path / "tuned.yaml"), RunConfig)
    assert main([*command, "--model", "two_towr"]) == 1
    assert "no model 'two_towr' to tune; did you mean 'two_tower'?" in capsys.readouterr().err
