"""torchx components: what a scheduler starts, from two processes on a laptop to a cluster.

Each runs the same command line as a shell would; ``torchrun_line`` gives it. On this machine::

    torchx run -s local_cwd interactrank/components.py:train --config run.yaml --data prepared \
        --output runs/a -j 1x2 -- training.steps=200

torchx reads these signatures from the source: types are plain (no ``X | None``), and every argument is in the
docstring.
"""

import shlex
import sys
import threading
from pathlib import Path
from typing import TextIO

from interactrank.errors import UserError
from interactrank.extras import require

require("torchx", "launch")
import torchx.specs as specs  # noqa: E402

__all__ = ["LaunchError", "evaluate", "launch_local", "launch_training", "torchrun_line", "train"]

_MODULE = "interactrank.cli"


class LaunchError(UserError, RuntimeError):
    """A job that was started did not succeed; the message says where its logs are and how to run it."""


def train(
    *overrides: str,
    config: str,
    data: str,
    output: str,
    model: str = "interactrank",
    plan: str = "",
    j: str = "1x2",
    threads: int = 1,
    h: str = "",
    cpu: int = 2,
    gpu: int = 0,
    memMB: int = 4096,
    image: str = "",
    max_retries: int = 0,
    rdzv_port: int = 29500,
) -> specs.AppDef:
    """Trains a model on a prepared log with torchrun.

    Args:
        overrides: settings of the config to change, such as training.steps=200
        config: YAML file of the run
        data: folder of the prepared log
        output: folder of the model, seen by all machines
        model: interactrank or two_tower
        plan: file that interactrank plan wrote for these machines; TorchRec plans when left out
        j: machines x processes on each, such as 4x8; 2:4x8 goes on while 2 of 4 machines are there
        threads: OMP_NUM_THREADS of each process
        h: a named resource of torchx, such as aws_p4d.24xlarge; it replaces cpu, gpu and memMB
        cpu: cores of a machine
        gpu: GPUs of a machine
        memMB: memory of a machine
        image: container image, or folder for local schedulers; torchx's default when left out
        max_retries: how often the scheduler restarts the job
        rdzv_port: port of the first machine at which several machines meet
    """
    from torchx.components.dist import ddp

    return ddp(
        *_train_arguments(config, data, output, model, overrides, plan),
        m=_MODULE,
        name=f"interactrank/{Path(output).name or 'train'}",
        j=j,
        env={"OMP_NUM_THREADS": str(threads)},
        h=h or None,
        cpu=cpu,
        gpu=gpu,
        memMB=memMB,
        max_retries=max_retries,
        rdzv_port=rdzv_port,
        **({"image": image} if image else {}),
    )


def evaluate(
    *overrides: str,
    config: str,
    data: str,
    output: str,
    runs: str = "",
    threads: int = 2,
    h: str = "",
    cpu: int = 2,
    gpu: int = 0,
    memMB: int = 4096,
    image: str = "",
    max_retries: int = 0,
) -> specs.AppDef:
    """Evaluates trained models on the test requests of a prepared log, in one process.

    Args:
        overrides: settings of the config to change, such as evaluation.resamples=100
        config: YAML file of the run
        data: folder of the prepared log
        output: folder of the report
        runs: trained models, such as interactrank=runs/a,two_tower=runs/b
        threads: OMP_NUM_THREADS of the process
        h: a named resource of torchx; it replaces cpu, gpu and memMB
        cpu: cores of the machine
        gpu: GPUs of the machine
        memMB: memory of the machine
        image: container image, or folder for local schedulers; torchx's default when left out
        max_retries: how often the scheduler restarts the job
    """
    import torchx

    arguments = ["evaluate", config, *overrides, "--data", data, "--output", output]
    for run in filter(None, runs.split(",")):
        arguments += ["--run", run]
    return specs.AppDef(
        name=f"{Path(output).name or 'interactrank'}-evaluate",
        roles=[
            specs.Role(
                name="evaluate",
                image=image or torchx.IMAGE,
                entrypoint="python",
                args=["-m", _MODULE, *arguments],
                env={"OMP_NUM_THREADS": str(threads)},
                resource=specs.resource(cpu=cpu, gpu=gpu, memMB=memMB, h=h or None),
                max_retries=max_retries,
            )
        ],
    )


def torchrun_line(
    *overrides: str,
    config: str,
    data: str,
    output: str,
    model: str = "interactrank",
    nproc: int = 2,
    threads: int = 1,
) -> str:
    """The command that trains on this machine without torchx.

    Example::

        >>> print(torchrun_line("training.steps=9", config="run.yaml", data="prepared", output="runs/a"))
        OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 -m interactrank.cli train run.yaml \
training.steps=9 --data prepared --output runs/a --model interactrank
    """
    arguments = shlex.join(_train_arguments(config, data, output, model, overrides))
    return (
        f"OMP_NUM_THREADS={threads} torchrun --standalone --nproc-per-node {nproc} -m {_MODULE} {arguments}"
    )


def launch_local(app: specs.AppDef, log_dir: Path) -> int:
    """Runs a component on this machine with torchx's ``local_cwd`` scheduler, and shows its output.

    Args:
        app: made by a component above.
        log_dir: where torchx keeps the output of every process.

    Returns:
        0 if it succeeded, else 1.
    """
    from torchx.runner import get_runner
    from torchx.schedulers.api import Stream

    (role,) = app.roles
    # The torchrun and python of this interpreter, also where its environment is not activated.
    role.env["PATH"] = str(Path(sys.executable).parent)
    with get_runner() as runner:
        handle = runner.run(app, "local_cwd", cfg={"log_dir": str(log_dir)})

        def show(stream: Stream, to: TextIO) -> None:
            for line in runner.log_lines(handle, role.name, k=0, should_tail=True, streams=stream):
                print(line.rstrip("\n"), file=to, flush=True)

        # Not torchx's combined log: it is copied late, and would lose the last lines of a job that fails.
        streams = ((Stream.STDOUT, sys.stdout), (Stream.STDERR, sys.stderr))
        threads = [threading.Thread(target=show, args=stream, daemon=True) for stream in streams]
        for thread in threads:
            thread.start()
        try:
            status = runner.wait(handle, wait_interval=0.5)
        except KeyboardInterrupt:
            runner.cancel(handle)
            raise
        for thread in threads:
            thread.join(timeout=10)
    return 0 if status is not None and status.state == specs.AppState.SUCCEEDED else 1


def launch_training(
    *,
    config: str | Path,
    data: str | Path,
    output: str | Path,
    model: str = "interactrank",
    ranks: int = 2,
    threads: int = 1,
    overrides: tuple[str, ...] = (),
) -> None:
    """Trains with ``ranks`` processes on this machine: :func:`train` on torchx's local scheduler.

    Args:
        config: YAML file of the run.
        data: folder of the prepared log.
        output: folder of the model; the processes' output is kept in its ``logs``.
        model: ``interactrank`` or ``two_tower``.
        ranks: processes.
        threads: OMP_NUM_THREADS of each.
        overrides: settings of the config to change.

    Raises:
        LaunchError: the job failed.
    """
    run, log, folder = str(config), str(data), str(output)
    line = torchrun_line(
        *overrides, config=run, data=log, output=folder, model=model, nproc=ranks, threads=threads
    )
    print(f"training {model} on {ranks} ranks; without torchx: {line}", file=sys.stderr, flush=True)
    logs = Path(output) / "logs"
    app = train(*overrides, config=run, data=log, output=folder, model=model, j=f"1x{ranks}", threads=threads)
    if launch_local(app, logs) != 0:
        raise LaunchError(f"training {model} failed; its output is above and in {logs}. By hand: {line}")


def _train_arguments(
    config: str, data: str, output: str, model: str, overrides: tuple[str, ...], plan: str = ""
) -> list[str]:
    arguments = ["train", config, *overrides, "--data", data, "--output", output, "--model", model]
    return [*arguments, "--plan", plan] if plan else arguments
