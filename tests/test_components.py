from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("torchx")

import torchx.specs as specs
from torch.distributed.run import get_args_parser
from torchx.components.component_test_base import ComponentTestCase

from interactrank import components
from interactrank.cli import parse
from interactrank.distributed.preemption import EXIT_PREEMPTED
from interactrank.runs import launch, local

WHAT = {"config": "run.yaml", "data": "prepared log", "output": "runs/a"}


class SignatureTest(ComponentTestCase):
    """torchx reads the components from their source; this is what `torchx run` does first."""

    def test_train(self) -> None:
        self.validate(components, "train")

    def test_run_verb(self) -> None:
        self.validate(components, "run_verb")

    def test_bench(self) -> None:
        self.validate(components, "bench")


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
    assert understood.overrides == ["training.steps=9", "loader.seed=1"]


def test_train_tells_torchrun_how_to_survive() -> None:
    app = components.train(**WHAT, j="1:2x4", max_restarts=3, stop_s=90)
    (role,) = app.roles
    assert "--nnodes 1:2 --nproc_per_node 4" in role.args[1]
    assert {name: role.env[name] for name in role.env if name.startswith(("PET", "TORCH_"))} == {
        "PET_MAX_RESTARTS": "3",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "90",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


EXPORT = [
    *("run.yaml", "training.device=cpu", "--data", "prepared log", "--model-dir", "runs/model"),
    *("--output", "items"),
]


def test_run_verb_starts_torchrun_with_the_command_line() -> None:
    app = components.run_verb(*EXPORT, verb="export-items", j="1x3")
    (role,) = app.roles
    assert "--nnodes 1 --nproc_per_node 3" in role.args[1]
    command = shlex.split(role.args[1].split(" -m interactrank.cli ")[1])
    understood = parse(command)
    assert (app.name, understood.verb, understood.model_dir) == (
        "export-items",
        "export-items",
        Path("runs/model"),
    )


def test_torchrun_takes_no_argument_of_a_job_for_its_own() -> None:
    """It refuses those that could be short for several options of its own, wherever they stand."""
    apps = (
        components.train("training.steps=9", **WHAT, plan="plan.json", model="two_tower"),
        components.run_verb(*EXPORT, verb="export-items", j="1x2"),
        components.run_verb("c", "--data", "d", "--model-dir", "m", "--output", "o", verb="evaluate"),
        components.bench("--smoke", "--rounds", "3", "--threads", "1", m="benchmarks.ranks"),
    )
    for app in apps:
        (role,) = app.roles
        module, *own = role.args[1].split(" -m ")[1].split(" ")
        found = get_args_parser().parse_args(shlex.split(role.args[1])[1:])
        assert found.training_script == module
        assert found.training_script_args == shlex.split(" ".join(own))


def test_the_torchrun_line_of_every_job_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    components.train(**WHAT, j="1:2x4", max_restarts=3, threads=2, rdzv_port=29600)
    assert capsys.readouterr().err == (
        "a, without torchx: OMP_NUM_THREADS=2 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 "
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 torchrun --nnodes 1:2 --rdzv-backend c10d --rdzv-endpoint "
        "FIRST_MACHINE:29600 --rdzv-id NAME --nproc-per-node 4 --max-restarts 3 -m interactrank.cli train "
        "run.yaml --data 'prepared log' --output runs/a --model interactrank\n"
    )
    components.bench("--smoke", script="mine/speed.py", j="1x2")
    line = "OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 mine/speed.py --smoke"
    assert capsys.readouterr().err == f"speed, without torchx: {line}\n"
    components.train(**WHAT, j="1x2", stop_s=600)
    assert "OMP_NUM_THREADS=1 TORCH_ELASTIC_SHUTDOWN_TIMEOUT=600 torchrun" in capsys.readouterr().err


@pytest.mark.parametrize("j", ["4xx", "x2", "two", "2:x4", ""])
def test_ranks_that_are_no_numbers_are_refused(j: str) -> None:
    with pytest.raises(launch.LaunchError, match=f"-j {j}: write machines x processes on each"):
        components.train(**WHAT, j=j)


def test_bench_starts_a_module_or_a_script() -> None:
    (role,) = components.bench("--smoke", m="benchmarks.checkpoint", j="1x2", threads=3).roles
    assert "--nproc_per_node 2" in role.args[1]
    assert role.args[1].endswith("-m benchmarks.checkpoint --smoke")
    assert role.env["OMP_NUM_THREADS"] == "3"
    (role,) = components.bench(script="mine/speed.py").roles
    assert role.args[1].endswith("mine/speed.py")
    for wrong in ({}, {"m": "a.b", "script": "c.py"}):
        with pytest.raises(launch.LaunchError, match="give either m"):
            components.bench(**wrong)


def test_the_torchrun_line_says_how_often_it_restarts() -> None:
    line = launch.torchrun_line(["train"], j="1x4", env=launch.environment(1, 2, 30))
    assert line.endswith(
        "torchrun --standalone --nproc-per-node 4 --max-restarts 2 -m interactrank.cli train"
    )


@pytest.mark.parametrize("path", ["a$$b", "a${app_id}b", "a b [c]", "$HOME", "a'b"])
def test_paths_reach_the_ranks_as_they_are(path: str) -> None:
    """torchx replaces $$ and ${app_id} in what a job is given, then bash reads it."""
    (role,) = components.train(config="c", data=path, output=path).roles
    script = specs.macros.Values("image", "app", "0", "host").apply(role).args[1]
    words = shlex.split(script)
    assert words[words.index("--data") + 1] == words[words.index("--output") + 1] == path


def shell(script: str) -> specs.AppDef:
    role = specs.Role(name="job", image="", entrypoint="bash", args=["-c", script])
    return specs.AppDef(name="job", roles=[role])


def test_launch_local_shows_the_output_keeps_it_and_tells_success(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert local.launch_local(shell("command -v python; echo done >&2"), tmp_path) is None
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [str(Path(sys.executable).parent / "python")]
    assert "done" in shown.err.splitlines()
    assert any("done" in log.read_text() for log in tmp_path.rglob("stderr.log"))
    assert local.launch_local(shell("echo no >&2; exit 3"), tmp_path) == ""
    assert "no" in capfd.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, local.StoppedError)]
)
def test_a_signal_stops_the_job_and_says_so(
    tmp_path: Path, number: signal.Signals, raised: type[BaseException]
) -> None:
    """The job sends it to us once torchx has noted the job, and writes a file at the SIGTERM that it gets."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    asked = f"trap 'touch {tmp_path}/asked; exit' TERM"
    script = f"{asked}; sleep 1; kill -{int(number)} {os.getpid()}; while true; do sleep 0.1; done"
    with pytest.raises(raised):
        local.launch_local(shell(script), tmp_path)
    assert (tmp_path / "asked").exists()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert local.StoppedError.exit_code == EXIT_PREEMPTED


def test_launch_training_prints_the_torchrun_line_and_names_the_logs_of_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []
    outcome: list[str | None] = [None, "the log is empty"]

    def run(app: specs.AppDef, log_dir: Path) -> str | None:
        calls.append((app.roles[0].args[1], log_dir))
        return outcome.pop(0)

    monkeypatch.setattr(local, "launch_local", run)
    where = {"config": Path("c.yaml"), "data": Path("d"), "output": tmp_path / "m"}
    local.launch_training(**where, model="two_tower", ranks=3)
    line = (
        "OMP_NUM_THREADS=1 TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 torchrun --standalone --nproc-per-node 3 -m "
        f"interactrank.cli train c.yaml --data d --output {tmp_path / 'm'} --model two_tower"
    )
    assert line in capsys.readouterr().err
    script, logs = calls[0]
    assert "--nnodes 1 --nproc_per_node 3" in script
    assert script.startswith("python -m interactrank.runs.agent ")
    assert logs == tmp_path / "m" / "logs"
    with pytest.raises(launch.LaunchError) as error:
        local.launch_training(**where, ranks=3)
    assert str(error.value).startswith("the log is empty\nThe output of the ranks is in " + str(logs))


def test_without_torchx_the_error_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.setitem(sys.modules, "torchx", None)
    with pytest.raises(ImportError, match=r"pip install 'interactrank\[launch\]'"):
        importlib.reload(components)
