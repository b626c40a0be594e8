"""Jobs on ranks: the command line of each rank as a torchx AppDef, as a torchrun line, or started here."""

import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from interactrank.core.errors import UserError
from interactrank.core.extras import require

require("torchx", "launch")
import torchx.specs as specs  # noqa: E402 (after the check that it is installed)

__all__ = [
    "MODULE",
    "LaunchError",
    "StoppedError",
    "environment",
    "launch_local",
    "launch_training",
    "on_ranks",
    "torchrun_line",
    "train_arguments",
]

MODULE = "interactrank.cli"
STOP_S = 120  # seconds between SIGTERM, at which ranks save a checkpoint, and SIGKILL
_STOP_S = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"


class LaunchError(UserError, RuntimeError):
    """A job cannot be started, or did not succeed; the message says what to change, or where its logs are."""


class StoppedError(UserError, RuntimeError):
    """The job was asked to stop by a signal, and its ranks with it."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h, as of a rank that was asked to stop


def on_ranks(
    *arguments: str,
    name: str,
    j: str,
    env: dict[str, str],
    resource: tuple[str, int, int, int],
    image: str,
    max_retries: int,
    rdzv_port: int,
    mounts: str = "",
    m: str | None = None,
    script: str | None = None,
) -> specs.AppDef:
    """Return a torchx job that runs ``m`` or ``script`` with ``arguments`` on every rank.

    Raises:
        LaunchError: ``j`` is not machines x processes.
    """
    from torchx.components.dist import ddp

    if not re.fullmatch(r"((\d+:)?\d+x)?\d+", j):
        raise LaunchError(f"-j {j}: write machines x processes on each, such as 4x8 or 2:4x8")
    h, cpu, gpu, memory = resource
    what = f"-m {m}" if m else shlex.quote(str(script))
    line = _line(arguments, j=j, env=env, what=what, port=rdzv_port)
    print(f"{name}, without torchx: {line}", file=sys.stderr, flush=True)
    return ddp(
        *arguments,
        m=m,
        script=script,
        name=f"interactrank/{name}",
        j=j,
        env=env,
        h=h or None,
        cpu=cpu,
        gpu=gpu,
        memMB=memory,
        max_retries=max_retries,
        rdzv_port=rdzv_port,
        mounts=mounts.split(",") if mounts else None,
        **({"image": image} if image else {}),
    )


def environment(threads: int, max_restarts: int, stop_s: int) -> dict[str, str]:
    """What torchrun and its processes read; the same for each way to start them."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "PET_MAX_RESTARTS": str(max_restarts),
        _STOP_S: str(stop_s),
        # Else ranks that are restarted find the addresses of those that are gone (torch 2.13).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


def torchrun_line(
    *overrides: str,
    config: str,
    data: str,
    output: str,
    model: str = "interactrank",
    nproc: int = 2,
    threads: int = 1,
    max_restarts: int = 0,
    stop_s: int = 120,
) -> str:
    """The command that trains on this machine without torchx.

    Example::

        >>> print(torchrun_line("training.steps=9", config="run.yaml", data="prepared", output="runs/a"))
        OMP_NUM_THREADS=1 TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 torchrun --standalone --nproc-per-node 2 \
-m interactrank.cli train run.yaml training.steps=9 --data prepared --output runs/a --model interactrank
    """
    arguments = train_arguments(config, data, output, model, overrides)
    env = environment(threads, max_restarts, stop_s)
    return _line(arguments, j=f"1x{nproc}", env=env, what=f"-m {MODULE}", port=0)


def _line(arguments: Sequence[str], *, j: str, env: dict[str, str], what: str, port: int) -> str:
    """The command that does on each machine what torchx would."""
    nodes, _, ranks = j.rpartition("x")
    variables = [f"OMP_NUM_THREADS={env['OMP_NUM_THREADS']}"]
    if nodes in ("", "1"):
        options = ["--standalone"]
        if (stop_s := env[_STOP_S]) != "30":  # which is torchrun's own
            variables.append(f"{_STOP_S}={stop_s}")
    else:
        variables += [f"{key}={env[key]}" for key in sorted(env) if key.startswith("TORCH_")]
        options = [
            f"--nnodes {nodes} --rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:{port} --rdzv-id NAME"
        ]
    options.append(f"--nproc-per-node {ranks}")
    if env["PET_MAX_RESTARTS"] != "0":
        options.append(f"--max-restarts {env['PET_MAX_RESTARTS']}")
    return " ".join([*variables, "torchrun", *options, what, shlex.join(arguments)])


def launch_local(app: specs.AppDef, log_dir: Path) -> int:
    """Runs a component on this machine with torchx's ``local_cwd`` scheduler, and shows its output.

    Args:
        app: made by a component above.
        log_dir: where torchx keeps the output of every process.

    Returns:
        0 if it succeeded, else 1.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; the job was asked to stop first.
        StoppedError: SIGTERM came; likewise.
    """
    from torchx.runner import get_runner
    from torchx.schedulers.api import Stream
    from torchx.schedulers.local_scheduler import SignalException

    (role,) = app.roles
    # The torchrun and python of this interpreter, also where its environment is not activated.
    role.env["PATH"] = str(Path(sys.executable).parent)
    try:
        with _handlers_put_back(), get_runner() as runner:
            handle = runner.run(app, "local_cwd", cfg={"log_dir": str(log_dir)})

            def show(stream: Stream, to: TextIO) -> None:
                for line in runner.log_lines(handle, role.name, k=0, should_tail=True, streams=stream):
                    print(line.rstrip("\n"), file=to, flush=True)

            # Not torchx's combined log: it is copied late, and would lose the last lines of a job that fails.
            streams = ((Stream.STDOUT, sys.stdout), (Stream.STDERR, sys.stderr))
            threads = [threading.Thread(target=show, args=stream, daemon=True) for stream in streams]
            for thread in threads:
                thread.start()
            status = runner.wait(handle, wait_interval=0.5)
            for thread in threads:
                thread.join(timeout=10)
    except SignalException as error:
        # Of torchx's handlers for Ctrl-C and SIGTERM. Closing the runner has sent SIGTERM to the job, at
        # which ranks save, and killed what was left after 10 s.
        raise _as_signal(error.sigval) from None
    return 0 if status is not None and status.state == specs.AppState.SUCCEEDED else 1


@contextmanager
def _handlers_put_back() -> Iterator[None]:
    """torchx leaves its own handlers behind, which would print a traceback for Ctrl-C ever after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_signal(number: signal.Signals) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return StoppedError(f"asked to stop ({number.name}); start it again to go on from the newest checkpoint")


def launch_training(
    *,
    config: str | Path,
    data: str | Path,
    output: str | Path,
    model: str = "interactrank",
    ranks: int = 2,
    threads: int = 1,
    max_restarts: int = 0,
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
        max_restarts: how often all processes are restarted after one failed.
        overrides: settings of the config to change.

    Raises:
        LaunchError: the job failed.
    """
    run, log, folder = str(config), str(data), str(output)
    line = torchrun_line(
        *overrides,
        config=run,
        data=log,
        output=folder,
        model=model,
        nproc=ranks,
        threads=threads,
        max_restarts=max_restarts,
    )
    print(f"training {model} on {ranks} ranks", file=sys.stderr, flush=True)
    logs = Path(output) / "logs"
    app = on_ranks(
        *train_arguments(run, log, folder, model, overrides),
        m=MODULE,
        name=Path(output).name or "train",
        j=f"1x{ranks}",
        env=environment(threads, max_restarts, STOP_S),
        resource=("", 2, 0, 4096),
        image="",
        max_retries=0,
        rdzv_port=29500,
    )
    if launch_local(app, logs) != 0:
        raise LaunchError(f"training {model} failed; its output is above and in {logs}. By hand: {line}")


def train_arguments(
    config: str, data: str, output: str, model: str, overrides: tuple[str, ...], plan: str = ""
) -> list[str]:
    """Return the arguments of ``interactrank`` that train one model."""
    arguments = ["train", config, *overrides, "--data", data, "--output", output, "--model", model]
    return [*arguments, "--plan", plan] if plan else arguments
