"""Jobs on ranks: the command line of each rank as a torchx AppDef or as a torchrun line."""

import re
import shlex
import sys
from collections.abc import Sequence

from interactrank.core.errors import UserError
from interactrank.core.extras import require

require("torchx", "launch")
import torchx.specs as specs  # noqa: E402 (after the check that it is installed)

__all__ = [
    "MODULE",
    "LaunchError",
    "environment",
    "escape",
    "on_ranks",
    "torchrun_line",
    "train_arguments",
]

MODULE = "interactrank.cli"
_STOP_S = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"


class LaunchError(UserError, RuntimeError):
    """A job cannot be started, or did not succeed; the message says what to change, or where its logs are."""


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
    line = torchrun_line(arguments, j=j, env=env, what=what, port=rdzv_port)
    print(f"{name}, without torchx: {line}", file=sys.stderr, flush=True)
    return ddp(
        *(escape(argument) for argument in arguments),
        m=m,
        script=script and escape(script),
        name=f"interactrank/{_job_name(name)}",
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


def _job_name(name: str) -> str:
    """Return a name without what schedulers refuse or torchx reads, such as ``a b$c`` -> ``a-b-c``."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "job"


def environment(threads: int, max_restarts: int, stop_s: int) -> dict[str, str]:
    """Return what torchrun and its processes read; the same for each way to start them."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "PET_MAX_RESTARTS": str(max_restarts),
        _STOP_S: str(stop_s),
        # Else ranks that are restarted find the addresses of those that are gone (torch 2.13).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


def torchrun_line(
    arguments: Sequence[str], *, j: str, env: dict[str, str], what: str = f"-m {MODULE}", port: int = 29500
) -> str:
    """Return the command that does on each machine what torchx would.

    Args:
        arguments: of the command line.
        j: machines x processes on each.
        env: of :func:`environment`.
        what: a module or a script.
        port: at which several machines meet.

    Example::

        >>> print(torchrun_line(["train", "run.yaml"], j="1x2", env=environment(1, 0, 120)))
        OMP_NUM_THREADS=1 TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 torchrun --standalone --nproc-per-node 2 \
-m interactrank.cli train run.yaml
    """
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


def train_arguments(
    *,
    config: str,
    data: str,
    output: str,
    model: str,
    overrides: tuple[str, ...] = (),
    plan: str = "",
    start_from: str = "",
) -> list[str]:
    """Return the arguments of ``interactrank`` that train one model."""
    arguments = ["train", config, *overrides, "--data", data, "--output", output, "--model", model]
    arguments += ["--plan", plan] if plan else []
    return [*arguments, "--from", start_from] if start_from else arguments


def escape(text: str) -> str:
    """Double every dollar: torchx replaces ``$$``, ``${app_id}`` and others in what a job is given.

    Example::

        >>> escape("runs/a$$b")
        'runs/a$$$$b'
    """
    return text.replace("$", "$$")
