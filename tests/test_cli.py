"""The command line: what it accepts, and what it says to what it does not."""

import pytest

from interactrank.cli import main, parse


def test_overrides_stand_anywhere_behind_the_config():
    options = parse(["prepare", "a.yaml", "x.y=1", "--data", "log", "x.z=2", "--output", "out", "--strict"])
    assert options.overrides == ["x.y=1", "x.z=2"]
    assert options.strict


def test_every_run_is_kept():
    options = parse(
        [
            "evaluate",
            "a.yaml",
            "--data",
            "d",
            "--output",
            "o",
            "--run",
            "interactrank=a",
            "--run",
            "two_tower=b",
        ]
    )
    assert [(model, str(folder)) for model, folder in options.run] == [
        ("interactrank", "a"),
        ("two_tower", "b"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "VERB"),
        (["rnu"], "invalid choice: 'rnu'"),
        (["run"], "config"),
        (["run", "a.yaml", "--stepz", "3"], "unrecognized arguments: --stepz"),
        (["doctor", "x.y=1"], "unrecognized arguments: x.y=1"),
        (["prepare", "a.yaml"], "--data, --output"),
        (["train", "a.yaml", "--data", "d", "--output", "o", "--model", "bm25"], "invalid choice: 'bm25'"),
        (
            ["evaluate", "a.yaml", "--data", "d", "--output", "o", "--run", "runs/a"],
            "'runs/a': write interactrank=FOLDER or two_tower=FOLDER",
        ),
    ],
)
def test_what_is_not_accepted(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["simulate", "prepare", "train", "evaluate", "run", "doctor"])
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

    monkeypatch.setattr("interactrank.cli._run", interrupt)
    assert main(["run", "a.yaml"]) == 130
    assert capsys.readouterr().err == "interactrank run: interrupted\n"
