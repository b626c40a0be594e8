"""An ablation, from a raw log to its report, in this process."""

import json
from pathlib import Path
from typing import Any

import pytest

from interactrank.cli import main
from interactrank.core.errors import TrainingError
from interactrank.core.logging import configure_command_line
from interactrank.core.settings import ConfigError
from interactrank.distributed.preemption import PreemptedError
from interactrank.experiments import ablation
from interactrank.experiments.ablation import AblationError, check_complete
from interactrank.runs.config import load_config
from interactrank.runs.training import train_model
from interactrank.runs.workflow import Training, run_models, start
from tests.trained import config, raw_log

ONLY = ["bm25", "plain_two_tower", "full", "full_without_iqp"]


class Launch:
    """Trains in this process and keeps account; some models fail."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.trained: list[tuple[str, int, int]] = []

    def __call__(self, job: Training, data: Path, config_file: Path) -> None:
        print(f"steps of {job.model}")
        if job.model in self.failing:
            raise TrainingError(f"{job.model} cannot be trained\nfor these reasons")
        start(job, data, config_file)
        self.trained.append((job.model, job.config.training.seed, job.config.loader.seed))


def ablate(
    log: Path | None, output: Path, *overrides: str, launch: Launch | None = None, **options: Any
) -> Any:
    configure_command_line()
    launch = launch or Launch()
    options = {"seeds": 2, "only": ONLY, **options}
    report = ablation.ablate(config("ranks=1", *overrides), log, output, launch=launch, **options)
    return launch.trained, report


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """(raw log, folder, report) of a finished ablation."""
    folder = Path(tmp_path_factory.mktemp("ablate"))
    log, output = raw_log(folder / "log"), folder / "out"
    trained, report = ablate(log, output, "training.seed=5")
    # Seed after seed, so that one of all models is there early.
    assert [(name, seed) for name, seed, _ in trained] == [
        (name, seed) for seed in (5, 6) for name in ONLY[1:]
    ]
    assert [loader for _, _, loader in trained] == [0] * 3 + [1] * 3
    return log, output, report


@pytest.mark.slow
def test_what_it_writes(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    _, output, report = finished
    assert json.loads((output / "ablation.json").read_text()) == report
    assert list(report["models"]) == ONLY
    assert {name: list(m["seeds"]) for name, m in report["models"].items()} == {
        "bm25": ["0"], "plain_two_tower": ["0", "1"], "full": ["0", "1"], "full_without_iqp": ["0", "1"],
    }  # fmt: skip
    seeds = [seed["mrr"] for seed in report["models"]["full"]["seeds"].values()]
    assert len({(output / f"models/full_seed{n}/model.safetensors").read_bytes() for n in range(2)}) == 2
    assert report["models"]["full"]["metrics"]["mrr"]["value"] == pytest.approx(sum(seeds) / 2)
    page = (output / "ablation.md").read_text()
    assert page.startswith("# Ablation\n\n|")
    assert "| full - IQP |" in page
    assert (output / "ablation.png").stat().st_size > 10_000
    log = (output / "models/full_seed0/training.log").read_text()
    assert log.startswith("steps of full\n")
    assert "step 2/2" in log  # and not in between the lines about the models
    assert str(output) not in json.dumps(report)


def test_a_seed_of_a_model_is_what_run_would_train(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The full model of the first seed is the config as it is, also evaluated together with others."""
    log, _, report = finished
    base = config("ranks=1", "training.seed=5", "models=[interactrank, bm25]")
    run_models(base, log, tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())
    for metric, value in report["models"]["full"]["seeds"]["0"].items():
        expected = found["models"]["interactrank"][metric]["value"]
        assert value == pytest.approx(expected, abs=1e-12), metric
    assert report["models"]["bm25"]["metrics"]["mrr"].items() <= found["models"]["bm25"]["mrr"].items()


def test_a_second_start_trains_what_is_missing(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    log, output, report = finished
    assert ablate(log, output, "training.seed=5") == ([], report)
    trained, more = ablate(log, output, "training.seed=5", only=[*ONLY, "plus_sequence"], seeds=1)
    assert trained == [("plus_sequence", 5, 0)]
    assert more["settings"]["seeds"] == 1


@pytest.mark.slow
def test_one_model_that_fails_does_not_take_the_others_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    log, output = raw_log(tmp_path / "log"), tmp_path / "out"
    _, report = ablate(log, output, launch=Launch("full"))
    with pytest.raises(AblationError, match=r"2 models could not be trained: full, seed 0, full, seed 1; "):
        check_complete(report, output)
    report = json.loads((output / "ablation.json").read_text())
    assert list(report["models"]) == ["bm25", "plain_two_tower", "full_without_iqp"]
    assert report["failed"] == {f"full, seed {seed}": "full cannot be trained" for seed in (0, 1)}
    said = caplog.text
    assert "model 2 of 6: full, seed 0: failed: full cannot be trained" in said
    assert "model 3 of 6: full_without_iqp, seed 0" in said
    trained, report = ablate(log, output)
    assert [name for name, *_ in trained] == ["full", "full"]
    assert report["failed"] == {}


def test_who_is_asked_to_stop_stops(tmp_path: Path) -> None:
    """SIGTERM while a model is trained: the next one is not begun."""
    begun: list[str] = []

    def stopped(job: Training, data: Path, config_file: Path) -> None:
        begun.append(job.model)
        raise PreemptedError("asked to stop (SIGTERM)")

    with pytest.raises(PreemptedError):
        ablation.ablate(
            config("ranks=1"), raw_log(tmp_path / "log"), tmp_path / "out", only=ONLY, launch=stopped
        )
    assert begun == ["plain_two_tower"]
    assert not (tmp_path / "out/ablation.json").exists()


def test_a_bug_keeps_its_traceback_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(job: Training, data: Path, config_file: Path) -> None:
        if job.model == "full":
            raise ZeroDivisionError("a bug")
        start(job, data, config_file)

    report = ablation.ablate(
        config("ranks=1"), raw_log(tmp_path / "log"), tmp_path / "out", seeds=1, only=ONLY, launch=broken
    )
    assert report["failed"] == {"full, seed 0": "a bug"}
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ZeroDivisionError: a bug" in said


def test_nothing_could_be_trained(tmp_path: Path) -> None:
    launch = Launch("full", "plain_two_tower")
    with pytest.raises(AblationError, match=r"no model could be trained: plain_two_tower cannot be"):
        ablate(raw_log(tmp_path / "log"), tmp_path / "out", only=["full", "plain_two_tower"], launch=launch)


@pytest.mark.slow
def test_the_metric_of_the_paper_is_always_measured(tmp_path: Path) -> None:
    _, report = ablate(
        raw_log(tmp_path / "log"),
        tmp_path / "out",
        *("evaluation.ks=[1]", "evaluation.by_user=true", "training.validate_every=1"),
        seeds=1,
    )
    assert "hit@3" in report["models"]["full"]["metrics"]
    assert report["settings"]["resampled"] == "users"
    history = (tmp_path / "out/models/full_seed0/metrics.jsonl").read_text()
    assert "validation/" not in history  # nothing is evaluated while training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds 0: at least 1 is needed"),
        ({"only": ["ful", "bm25"]}, "no model 'ful' in the grid; did you mean 'full'"),
        ({"only": ["full"]}, "nothing to ablate: --only keeps full alone"),
        ({}, "the config has no section simulate; give a log with --data"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        ablate(None, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_line_on_a_simulated_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["users=40", "items=120", "intents=10", "topics=4", "requests=300", "pool=30"]
    small += ["candidates_min=5", "candidates_max=10"]
    command = ["ablate", "interactrank/configs/demo.yaml", "--output", str(tmp_path), "--seeds", "1"]
    command += [f"simulate.{s}" for s in small]
    command += ["prepare.threads=1", "evaluation.resamples=100", "training.epochs=1", "ranks=1"]
    assert main([*command, "--only", "plain_two_tower", "--only", "full"]) == 0
    said = capsys.readouterr()
    assert "model 2 of 2: full, seed 0: " in said.err
    assert "the optimum" in said.out
    assert "no difference shown" in said.out
    report = json.loads((tmp_path / "ablation.json").read_text())
    assert report["optimum"]["hit@3"] > report["models"]["full"]["metrics"]["hit@3"]["value"]
    assert main([*command, "--only", "fulll"]) == 1
    assert "no model 'fulll' in the grid; did you mean 'full'?" in capsys.readouterr().err


@pytest.mark.slow
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
        train_model(given, options["data"], options["output"], model=options["model"])

    monkeypatch.setattr("interactrank.runs.local.launch_training", launch_training)
    report = ablation.ablate(config(), raw_log(tmp_path / "log"), tmp_path / "out", seeds=2, only=only)
    assert [(c["model"], c["overrides"]) for c in calls] == [
        (name, (f"training.seed={seed}", f"loader.seed={seed}")) for seed in (0, 1) for name in only
    ]
    assert list(report["models"]) == only
