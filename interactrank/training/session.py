"""The parts of a training, put together: what :func:`setup` returns is ready for its next step.

A loop of one's own calls :func:`setup` and then steps, saves and reports as it likes, or copies the body of
:func:`setup` and replaces parts of it: each line is a public part.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel

from interactrank.checkpoint.grown import load_grown
from interactrank.checkpoint.rng import seed_everything
from interactrank.checkpoint.store import CheckpointStore
from interactrank.core.errors import TrainingError
from interactrank.core.freed_memory import keep_freed_memory
from interactrank.distributed.collectives import run_on_rank0
from interactrank.distributed.world import World, current_world
from interactrank.sharding.managed import never_managed
from interactrank.sharding.planner.cluster import cluster_of
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.describe import describe_plan, log_plan
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.planner.plan_file import load_plan, plan_values, write_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.data_position import DataSchedule, Loader, Segment
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.pipeline import Pipeline, StepResult, make_pipeline
from interactrank.training.settings import TrainingSettings

__all__ = ["Session", "setup"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """The parts of a training.

    Attributes:
        world: the ranks.
        dmp: the sharded model.
        optimizer: of tables and dense parameters, with schedule and clipping.
        pipeline: one training step a call; attached to the model.
        data: which batches come at which step.
        checkpoints: of this run.
    """

    world: World
    dmp: DistributedModelParallel
    optimizer: TrainingOptimizer
    pipeline: Pipeline
    data: DataSchedule
    checkpoints: CheckpointStore

    def step(self, step: int, segment: Segment) -> StepResult:
        """Train on the batch of ``step``; segments come from :meth:`DataSchedule.segments`."""
        self.optimizer.start_step(self.data.schedule_step(step))
        return self.pipeline.progress(segment.batches)

    def save(self, step: int) -> Path:
        """Save a checkpoint of ``step``, the last of a segment; see :meth:`CheckpointStore.save`."""
        return self.checkpoints.save(self.dmp, self.optimizer, step, self.data.position(step).to_json())

    @contextmanager
    def evaluation(self) -> Iterator[nn.Module]:
        """Lend the model between two segments, in evaluation mode and without gradients."""
        self.pipeline.detach()
        self.dmp.eval()
        with torch.no_grad():
            yield self.dmp.module
        self.dmp.train()
        self.pipeline.attach()


def setup(
    model: nn.Module,
    loader: Loader,
    settings: TrainingSettings,
    output_dir: str | os.PathLike[str],
    *,
    resume: bool = True,
    plan: str | os.PathLike[str] | None = None,
    start_from: str | os.PathLike[str] | None = None,
    loads: Mapping[str, TableLoad] | None = None,
) -> Session:
    """Shard a model, build its optimizers and pipeline, and load the newest checkpoint of ``output_dir``.

    Call it on every rank, within ``with process_group():``. From here on the process keeps the memory that
    steps free, see :func:`~interactrank.core.freed_memory.keep_freed_memory`.

    Args:
        model: batch -> (loss, outputs); unsharded, its collections of tables are replaced in place. The ranks
            must build it from the same seed.
        loader: this rank's batches.
        settings: how to train.
        output_dir: folder of the run, seen by all ranks; gets ``plan.json`` and ``checkpoints/``.
        resume: resume from the newest checkpoint, if there is one.
        plan: a file of :func:`~interactrank.sharding.write_plan`; the planner makes one when left out.
        start_from: a checkpoint of another run to begin with, see
            :func:`~interactrank.checkpoint.grown.load_grown`; not read by a run that resumes.
        loads: table -> what a step asks of it on each rank, for the planner.

    Raises:
        RuntimeError: there is no process group.
        TrainingError: settings, plan, loader or an earlier run in ``output_dir`` do not fit.
        CheckpointError: the checkpoint is damaged or of another model.
    """
    world, output = current_world(), Path(output_dir)
    keep_freed_memory()
    checkpoints = CheckpointStore(
        output / "checkpoints", settings.keep_last, background=settings.checkpoint_async
    )
    newest = checkpoints.latest()
    if newest is not None and not resume:
        raise TrainingError(
            f"{output} holds a run with checkpoint {newest.name}; resume it, or give another folder"
        )
    position = None if newest is None else checkpoints.position(newest)
    data = DataSchedule(loader, settings, position, ranks=world.size)
    for line in never_managed(model, data.total):
        logger.info(line)
    seed_everything(settings.seed, world.rank)
    dmp = _shard(model, settings, world, output, plan, loads)
    optimizer = build_optimizer(dmp, settings, data.schedule_steps)
    if newest is not None:
        if not checkpoints.load(newest, dmp, optimizer):
            seed_everything(settings.seed, world.rank, data.start.step)
        logger.info("resuming from %s: step %d, epoch %d", newest, data.start.step, data.start.epoch)
    elif start_from is not None:
        grown = load_grown(Path(start_from), dmp, optimizer)
        new = ", ".join(f"{rows:,} new rows in {name}" for name, rows in grown.items())
        logger.info("going on from %s: %s", start_from, new or "no new rows")
    if data.start.step < data.total:
        checkpoints.allocate_staging(dmp, optimizer)
    dmp.train()
    return Session(world, dmp, optimizer, make_pipeline(dmp, optimizer, settings), data, checkpoints)


def _shard(
    model: nn.Module,
    settings: TrainingSettings,
    world: World,
    output: Path,
    file: str | os.PathLike[str] | None,
    loads: Mapping[str, TableLoad] | None,
) -> DistributedModelParallel:
    if file:
        plan = load_plan(file, model, settings, world)
    else:
        plan = make_plan(model, settings, world, loads=loads)
    if world.is_main and plan.plan:
        log_plan(describe_plan(model, plan, world.size))
    per_node = cluster_of(world).ranks_per_node
    values = plan_values(model, plan, ranks=world.size, ranks_per_node=per_node)
    dmp = shard_model(model, plan, settings, world)
    run_on_rank0("writing the plan", lambda: write_plan(output / "plan.json", values))
    return dmp
