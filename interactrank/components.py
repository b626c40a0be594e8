"""torchx components: what a scheduler starts, from two processes on a laptop to a cluster.

Each runs the same command line as a shell would, and prints it. On this machine::

    torchx run -s local_cwd interactrank/components.py:train --config run.yaml --data prepared \
        --output runs/a -j 1x2 -- training.steps=200

torchx reads these signatures from the source: types are plain (no ``X | None``), and every argument is in the
docstring.
"""

from pathlib import Path

from interactrank.core.extras import require
from interactrank.runs.launch import MODULE, LaunchError, environment, on_ranks, train_arguments

require("torchx", "launch")
import torchx.specs as specs  # noqa: E402 (after the check that it is installed)

__all__ = ["bench", "run_verb", "train"]


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
    mounts: str = "",
    max_restarts: int = 0,
    stop_s: int = 120,
    max_retries: int = 0,
    rdzv_port: int = 29500,
) -> specs.AppDef:
    """Train a model on a dataset with torchrun.

    Args:
        overrides: settings of the config to change, such as training.steps=200
        config: YAML file of the run
        data: directory of the dataset
        output: run directory of the model, seen by all machines
        model: interactrank, two_tower or one of the config's variants
        plan: file that interactrank plan wrote for these machines; TorchRec plans when left out
        j: machines x processes on each, such as 4x8; 2:4x8 goes on while 2 of 4 machines are there
        threads: OMP_NUM_THREADS of each process
        h: a named resource of torchx, such as aws_p4d.24xlarge; it replaces cpu, gpu and memMB
        cpu: cores of a machine
        gpu: GPUs of a machine
        memMB: memory of a machine
        image: container image, or directory for local schedulers; torchx's default when left out
        mounts: what a container sees, such as type=volume,src=CLAIM,dst=/mnt or type=bind,src=/mnt,dst=/mnt
        max_restarts: how often torchrun restarts all processes after one failed or a machine was lost
        stop_s: seconds between SIGTERM, at which the processes save a checkpoint, and SIGKILL
        max_retries: how often the scheduler restarts the job
        rdzv_port: port of the first machine at which several machines meet
    """
    return on_ranks(
        *train_arguments(
            config=config, data=data, output=output, model=model, overrides=overrides, plan=plan
        ),
        m=MODULE,
        name=Path(output).name or "train",
        j=j,
        env=environment(threads, max_restarts, stop_s),
        resource=(h, cpu, gpu, memMB),
        image=image,
        mounts=mounts,
        max_retries=max_retries,
        rdzv_port=rdzv_port,
    )


def run_verb(
    *arguments: str,
    verb: str,
    j: str = "1x1",
    threads: int = 1,
    h: str = "",
    cpu: int = 2,
    gpu: int = 0,
    memMB: int = 4096,
    image: str = "",
    mounts: str = "",
    max_retries: int = 0,
    rdzv_port: int = 29500,
) -> specs.AppDef:
    """Run any verb of the command line, such as evaluate on one process or export-items on several.

    Args:
        arguments: of the verb, such as run.yaml --data prepared --model-dir runs/a --output report
        verb: evaluate, export-items, prepare or another one
        j: machines x processes on each, such as 4x8
        threads: OMP_NUM_THREADS of each process
        h: a named resource of torchx; it replaces cpu, gpu and memMB
        cpu: cores of a machine
        gpu: GPUs of a machine
        memMB: memory of a machine
        image: container image, or directory for local schedulers; torchx's default when left out
        mounts: what a container sees, such as type=volume,src=CLAIM,dst=/mnt or type=bind,src=/mnt,dst=/mnt
        max_retries: how often the scheduler restarts the job
        rdzv_port: port of the first machine at which several machines meet
    """
    return on_ranks(
        verb,
        *arguments,
        m=MODULE,
        name=verb,
        j=j,
        env=environment(threads, 0, 30),
        resource=(h, cpu, gpu, memMB),
        image=image,
        mounts=mounts,
        max_retries=max_retries,
        rdzv_port=rdzv_port,
    )


def bench(
    *arguments: str,
    m: str = "",
    script: str = "",
    j: str = "1x1",
    threads: int = 1,
    gpu: int = 0,
    memMB: int = 4096,
) -> specs.AppDef:
    """Run a benchmark of the repository, from its root; the package has no benchmarks.

    Args:
        arguments: of the benchmark, such as --smoke
        m: module, such as benchmarks.train_step
        script: or path of a script
        j: machines x processes on each
        threads: OMP_NUM_THREADS of each process
        gpu: GPUs of a machine
        memMB: memory of a machine
    """
    if bool(m) == bool(script):
        raise LaunchError("bench: give either m, such as benchmarks.train_step, or script, a path")
    return on_ranks(
        *arguments,
        m=m or None,
        script=script or None,
        name=(m.rpartition(".")[2] or Path(script).stem),
        j=j,
        env=environment(threads, 0, 30),
        resource=("", 2, gpu, memMB),
        image="",
        max_retries=0,
        rdzv_port=29500,
    )
