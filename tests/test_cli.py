"""The command line: what it accepts, and what it says to what it does not."""

import errno
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from interactrank.cli import main, parse
from interactrank.commands.verbs import verbs
from interactrank.core.errors import USER_ERRORS, UserError
from tests.trained import config as run_config
from tests.trained import raw_log


def test_overrides_stand_anywhere_behind_the_config():
    options = parse(["prepare", "a.yaml", "x.y=1", "--data", "log", "x.z=2", "--output", "out", "--strict"])
    assert options.overrides == ["x.y=1", "x.z=2"]
    assert options.strict


def test_every_model_dir_is_kept():
    options = parse(
        [
            "evaluate",
            "a.yaml",
            "--data",
            "d",
            "--output",
            "o",
            "--model-dir",
            "a",
            "--model-dir",
            "b",
        ]
    )
    assert options.model_dir == [Path("a"), Path("b")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "VERB"),
        (["rnu"], "invalid choice: 'rnu'"),
        (["run"], "config"),
        (["run", "a.yaml", "--stepz", "3"], "unrecognized arguments: --stepz"),
        (["ablate", "a.yaml", "--seeds", "three"], "argument --seeds: 'three': write a whole number above 0"),
        (["doctor", "x.y=1"], "unrecognized arguments: x.y=1"),
        (["prepare", "a.yaml", "--data", "log"], "--output --append is required"),
    ],
)
def test_what_is_not_accepted(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", [name for name, _ in verbs()])
def test_help_has_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert "example:\n  " in capsys.readouterr().out


def test_unreadable_override_is_one_line(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("schema: {}")
    assert main(["run", str(tmp_path / "a.yaml"), "training.steps"]) == 1
    said = capsys.readouterr().err
    assert said == (
        "interactrank run: override 'training.steps': write section.key=value, such as training.steps=100\n"
    )


def test_interruption(monkeypatch, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("interactrank.commands.run.run", interrupt)
    assert main(["run", "a.yaml"]) == 130
    assert capsys.readouterr().err == "interactrank run: interrupted\n"


@pytest.mark.parametrize("kind", [*USER_ERRORS, type("OurError", (UserError, ValueError), {})])
def test_what_the_user_can_fix_is_one_line(kind, monkeypatch, capsys):
    def fail(options):
        raise kind("the log is empty; give another")

    monkeypatch.setattr("interactrank.commands.run.run", fail)
    assert main(["run", "a.yaml"]) == 1
    assert capsys.readouterr().err == "interactrank run: the log is empty; give another\n"


def test_a_full_disk_is_one_line_with_a_remedy(monkeypatch, capsys):
    def fail(options):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a/config.yaml")

    monkeypatch.setattr("interactrank.commands.train.run", fail)
    assert main(["train", "a.yaml", "--data", "d", "--output", "o"]) == 1
    said = "[Errno 28] No space left on device: 'runs/a/config.yaml'; free some space and start again"
    assert capsys.readouterr().err == f"interactrank train: {said}\n"


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def fail(options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("interactrank.commands.run.run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["run", "a.yaml"])


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(run_config("models=[interactrank, bm25]").dump())
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prepare", "{config}", "--data", "{tmp}/none", "--output", "{tmp}/out"], "{tmp}/none"),
        (["train", "{config}", "--data", "{tmp}/none", "--output", "{tmp}/out"], "is not a prepared dataset"),
        (
            ["evaluate", "{config}", "--data", "{tmp}/none", "--output", "{tmp}/out"],
            "is not a prepared dataset",
        ),
        (["simulate", "{config}", "--output", "{tmp}/out"], "the config has no section simulate"),
        (["run", "{config}", "--output", "{tmp}/out"], "the config has no section simulate"),
        (["run", "{tmp}/none.yaml"], "cannot read"),
        (["run", "{config}", "training.stepz=3"], "training.stepz: unknown key; did you mean 'steps'?"),
    ],
)
def test_every_verb_says_what_is_wrong(arguments, said, config, tmp_path, capsys):
    assert main([a.format(config=config, tmp=tmp_path) for a in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"interactrank {arguments[0]}: ")
    assert said.format(tmp=tmp_path) in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_the_verbs_one_by_one(config, tmp_path, capsys):
    log, prepared, model, report = (str(tmp_path / n) for n in ("log", "prepared", "model", "report"))
    raw_log(Path(log))
    assert main(["prepare", config, "--data", log, "--output", prepared, "--strict"]) == 0
    assert "prepared " in capsys.readouterr().err
    assert main(["train", config, "training.steps=3", "--data", prepared, "--output", model]) == 0
    assert "step 3/3" in capsys.readouterr().err
    run = ["--model-dir", model]
    assert main(["evaluate", config, "--data", prepared, "--output", report, *run]) == 0
    assert "HIT@3" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "report/metrics.json").read_text())["models"]) == [
        "interactrank",
        "bm25",
    ]


@pytest.mark.slow
def test_run_launches_two_ranks(config, tmp_path):
    """As a user starts it: a process of its own, torchx and two ranks below."""
    log, output = raw_log(tmp_path / "log"), tmp_path / "out"
    command = [sys.executable, "-m", "interactrank.cli", "run", config, "--data", str(log)]
    command += ["--output", str(output), "ranks=2", "training.validate_every=2"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "training interactrank on 2 ranks" in done.stderr
    assert "queries seen in training, and others" in done.stdout
    models = json.loads((output / "metrics.json").read_text())["models"]
    assert list(models) == ["interactrank", "bm25"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "interactrank: trained already" in again.stderr
    assert "training interactrank on" not in again.stderr


@pytest.mark.slow
def test_train__an_error_of_a_rank_comes_last_and_alone(config, tmp_path):
    """As a user sees it: torchx, our agent and two ranks below, and no traceback of any of them."""
    command = [sys.executable, "-m", "interactrank.cli", "train", config, "--data", "none", "--ranks", "2"]
    command += ["--model", "two_towr", "--output", str(tmp_path / "a$$b [c] d")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()[-2:]
    assert first == "interactrank train: no model 'two_towr' to train; did you mean 'two_tower'?"
    assert second == f"The output of the ranks is in {tmp_path / 'a$$b [c] d'}/logs"
    assert "Traceback" not in done.stderr
    assert done.stderr.count("did you mean") == 1


def test_verbs__of_another_package_by_an_entry_point(monkeypatch, capsys):
    group = "interactrank.commands"
    entries = [
        metadata.EntryPoint("hello", "tests.commands.hello", group),
        metadata.EntryPoint("broken", "tests.commands.not_there", group),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)
    assert main(["hello", "you"]) == 7
    said = capsys.readouterr()
    assert said.out == "hello you\n"
    assert "no verb broken, tests.commands.not_there fails: No module named" in said.err


def test_help_loads_no_torch():
    code = "import sys; sys.argv = ['interactrank', '--help']; from interactrank.cli import make_parser; "
    code += "make_parser().format_help(); "
    code += "print([m for m in ('torch', 'torchrec', 'pydantic', 'rich', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
