from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torchx")

import torchx.specs as specs
from torchx.components.component_test_base import ComponentTestCase

from interactrank import components
from interactrank.cli import _parser

WHAT = {"config": "run.yaml", "data": "prepared log", "output": "runs/a"}


class SignatureTest(ComponentTestCase):
    """torchx reads the components from their source; this is what `torchx run` does first."""

    def test_train(self) -> None:
        self.validate(components, "train")

    def test_evaluate(self) -> None:
        self.validate(components, "evaluate")


def parse(arguments: list[str]) -> dict[str, object]:
    """What the command line understands of a component's arguments."""
    return vars(_parser().parse_args(arguments))


def test_train_starts_torchrun_with_the_command_line() -> None:
    app = components.train("training.steps=9", "loader.seed=1", **WHAT, j="2x4", threads=3, gpu=4)
    (role,) = app.roles
    assert (app.name, role.num_replicas, role.env["OMP_NUM_THREADS"], role.resource.gpu) == ("a", 2, "3", 4)
    assert role.entrypoint == "bash"
    flag, script = role.args
    assert flag == "-c"
    assert "--nnodes 2 --nproc_per_node 4" in script
    command = "-m interactrank.cli train run.yaml training.steps=9 loader.seed=1 --data 'prepared log'"
    assert command in script
    understood = parse(
        ["train", "run.yaml", "training.steps=9", "loader.seed=1", "--data", "d", "--output", "o"]
    )
    assert understood["overrides"] == ["training.steps=9", "loader.seed=1"]


def test_evaluate_is_one_process_with_the_command_line() -> None:
    app = components.evaluate("evaluation.resamples=9", **WHAT, runs="interactrank=runs/a,two_tower=runs/b")
    (role,) = app.roles
    assert (app.name, role.entrypoint, role.num_replicas) == ("a-evaluate", "python", 1)
    assert role.args[:2] == ["-m", "interactrank.cli"]
    understood = parse(role.args[2:])
    assert understood["verb"] == "evaluate"
    assert understood["run"] == [("interactrank", Path("runs/a")), ("two_tower", Path("runs/b"))]
    assert understood["overrides"] == ["evaluation.resamples=9"]


def shell(script: str) -> specs.AppDef:
    role = specs.Role(name="job", image="", entrypoint="bash", args=["-c", script])
    return specs.AppDef(name="job", roles=[role])


def test_launch_local_shows_the_output_keeps_it_and_tells_success(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert components.launch_local(shell("command -v python; echo done >&2"), tmp_path) == 0
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [str(Path(sys.executable).parent / "python")]
    assert "done" in shown.err.splitlines()
    assert any("done" in log.read_text() for log in tmp_path.rglob("stderr.log"))
    assert components.launch_local(shell("echo no >&2; exit 3"), tmp_path) == 1
    assert "no" in capfd.readouterr().err.splitlines()


def test_launch_training_prints_the_torchrun_line_and_names_the_logs_of_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []
    outcome = [0, 1]

    def launch(app: specs.AppDef, log_dir: Path) -> int:
        calls.append((app.roles[0].args[1], log_dir))
        return outcome.pop(0)

    monkeypatch.setattr(components, "launch_local", launch)
    where = {"config": Path("c.yaml"), "data": Path("d"), "output": tmp_path / "m"}
    components.launch_training(**where, model="two_tower", ranks=3)
    line = (
        "OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 3 -m interactrank.cli train c.yaml "
        f"--data d --output {tmp_path / 'm'} --model two_tower"
    )
    assert line in capsys.readouterr().err
    script, logs = calls[0]
    assert "--nnodes 1 --nproc_per_node 3" in script
    assert logs == tmp_path / "m" / "logs"
    with pytest.raises(components.LaunchError) as error:
        components.launch_training(**where, ranks=3)
    assert str(logs) in str(error.value)


def test_without_torchx_the_error_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.setitem(sys.modules, "torchx", None)
    with pytest.raises(ImportError, match=r"pip install 'interactrank\[launch\]'"):
        importlib.reload(components)
