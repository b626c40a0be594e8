"""Jobs on the ranks of this machine: torchx's local scheduler, its output, its signals, its errors."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from interactrank.core.errors import UserError
from interactrank.core.extras import require
from interactrank.runs.launch import (
    MODULE,
    LaunchError,
    environment,
    escape,
    on_ranks,
    train_arguments,
)
from interactrank.runs.rank_process import QUIET

require("torchx", "launch")
import torchx.specs as specs  # noqa: E402 (after the check that it is installed)

__all__ = ["STOP_S", "StoppedError", "launch_local", "launch_training"]

logger = logging.getLogger(__name__)

STOP_S = 120  # seconds between SIGTERM, at which ranks save a checkpoint, and SIGKILL


class StoppedError(UserError, RuntimeError):
    """The job was asked to stop by a signal, and its ranks with it."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h, as that of a rank that was asked to stop


def launch_training(
    *,
    config: str | Path,
    data: str | Path,
    output: str | Path,
    model: str = "interactrank",
    plan: str | Path | None = None,
    start_from: str | Path | None = None,
    ranks: int = 2,
    threads: int = 1,
    max_restarts: int = 0,
    overrides: tuple[str, ...] = (),
) -> None:
    """Train with ``ranks`` processes on this machine, by torchx's local scheduler.

    Args:
        config: YAML file of the run.
        data: directory of the dataset.
        output: run directory of the model; the processes' output is kept in its ``logs``.
        model: ``interactrank``, ``two_tower`` or one of the config's variants.
        plan: file of a sharding plan for these ranks.
        start_from: run directory of a trained model to go on from.
        ranks: processes.
        threads: OMP_NUM_THREADS of each.
        max_restarts: how often all processes are restarted after one failed.
        overrides: settings of the config to change.

    Raises:
        LaunchError: the job failed; the message is that of the rank that failed first.
        StoppedError: SIGTERM came.
    """
    arguments = train_arguments(
        config=str(config),
        data=str(data),
        output=str(output),
        model=model,
        plan="" if plan is None else str(plan),
        start_from="" if start_from is None else str(start_from),
        overrides=overrides,
    )
    env = environment(threads, max_restarts, STOP_S)
    logs = Path(output) / "logs"
    logger.info("training %s on %d ranks", model, ranks)
    app = on_ranks(
        *arguments,
        m=MODULE,
        name=Path(output).absolute().name or "train",
        j=f"1x{ranks}",
        env=env | {QUIET: "1"},
        resource=("", 2, 0, 4096),
        image="",
        max_retries=0,
        rdzv_port=29500,
    )
    (role,) = app.roles
    role.args[1] = role.args[1].replace("torchrun", "python -m interactrank.runs.agent", 1)
    if (reason := launch_local(app, logs)) is not None:
        reason = reason or f"training {model} failed; its output is above"
        raise LaunchError(f"{reason}\nThe output of the ranks is in {logs}")


def launch_local(app: specs.AppDef, log_dir: Path) -> str | None:
    """Run a job on this machine with torchx's ``local_cwd`` scheduler, and show its output.

    Args:
        app: the job.
        log_dir: where torchx keeps the output of every process.

    Returns:
        None if it succeeded, else what the first process that failed says; empty if it says nothing.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; the job was asked to stop first.
        StoppedError: SIGTERM came; the job was asked to stop first.
    """
    from torchx.runner import get_runner
    from torchx.schedulers.api import Stream
    from torchx.schedulers.local_scheduler import SignalException

    (role,) = app.roles
    # The python of this interpreter, also if its environment is not activated.
    role.env["PATH"] = escape(str(Path(sys.executable).parent))
    try:
        with _restored_handlers(), get_runner() as runner:
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
    if status is not None and status.state == specs.AppState.SUCCEEDED:
        return None
    return "" if status is None else _message(status.structured_error_msg)


def _message(error: str) -> str:
    """Return the message in the error file of a job, which the rank that failed first wrote.

    Example::

        >>> _message('{"message": {"message": "no such model", "extraInfo": {}}}')
        'no such model'
        >>> _message("<NONE>")
        ''
    """
    try:
        return str(json.loads(error)["message"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


@contextmanager
def _restored_handlers() -> Iterator[None]:
    """Restore the signal handlers; torchx leaves its own, which print a traceback for every later Ctrl-C."""
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
    return StoppedError(f"asked to stop ({number.name}); start it again to resume from the newest checkpoint")
