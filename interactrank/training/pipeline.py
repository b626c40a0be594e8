"""One training step: batch to the device, forward, backward, update; plain, or overlapped by TorchRec.

An overlapped pipeline takes batches ahead of their step. Give it an iterator that ends where the model is to
be evaluated or saved: it trains on all that it took, and nothing is under way then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.train_pipeline import PrefetchTrainPipelineSparseDist, TrainPipelineSparseDist
from torchrec.distributed.train_pipeline.tracing import Tracer, _get_leaf_module_names

from interactrank.core.errors import TrainingError
from interactrank.sharding.kernels import unlock_caches
from interactrank.training.batch_protocol import Batch, count_samples, sample_unit
from interactrank.training.optimizers import TrainingOptimizer
from interactrank.training.settings import TrainingSettings

__all__ = ["Forward", "OverlappedPipeline", "PlainPipeline", "make_pipeline"]

logger = logging.getLogger(__name__)


class Forward:
    """Calls the model under autocast and keeps what the step gave.

    Args:
        model: batch -> (loss, outputs).
        device: where it computes.
        bf16: whether matrix products run in bfloat16.

    Attributes:
        loss: the last step's loss, detached.
        parts: its outputs named ``loss/<part>``, detached.
        samples: number of samples of its batch.
        unit: what a sample is called.
    """

    def __init__(self, model: nn.Module, device: torch.device, bf16: bool) -> None:
        self.model = model
        self.device = device
        self.bf16 = bf16
        if bf16 and device.type == "cpu" and not _cpu_has_bf16():
            logger.info("training.autocast: bf16 is slower than none here: this CPU has no bf16 instructions")
        self.loss: Tensor = torch.zeros(())
        self.parts: dict[str, Tensor] = {}
        self.samples, self.unit = 0, "samples"

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and outputs of a batch."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            loss, outputs = self.model(batch)
        self.loss = loss.detach()
        self.parts = {name: value.detach() for name, value in outputs.items() if name.startswith("loss/")}
        self.samples, self.unit = count_samples(batch), sample_unit(batch)
        return loss, outputs


class PlainPipeline:
    """One step after the other; what a single rank on CPU, which has nothing to overlap, does best.

    Args:
        forward: calls the model.
        optimizer: updates it.
        device: where batches go.
    """

    def __init__(self, forward: Forward, optimizer: TrainingOptimizer, device: torch.device) -> None:
        self.forward = forward
        self.optimizer = optimizer
        self.device = device

    @property
    def prefetched(self) -> int:
        """Batches that were taken and not yet trained on: none."""
        return 0

    def progress(self, batches: Iterator[Batch]) -> Any:
        """Trains on the next batch.

        Raises:
            StopIteration: there is none.
        """
        batch = next(batches)
        if self.device.type != "cpu":
            batch = batch.to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        loss, outputs = self.forward(batch)
        loss.backward()
        self.optimizer.step()
        return outputs

    def detach(self) -> None:
        """Nothing to do: the model can be called at any time."""

    def attach(self) -> None:
        """Nothing to do."""


class OverlappedPipeline:
    """TorchRec's pipelines, which take up to two batches ahead.

    Args:
        dmp: the sharded model.
        forward: calls it.
        optimizer: updates it.
        prefetch: whether the next batch's rows are also brought into the caches of tables that have one; the
            model must have been sharded for it (see :func:`~interactrank.sharding.sharders.sharders`).
    """

    def __init__(
        self,
        dmp: DistributedModelParallel,
        forward: Forward,
        optimizer: TrainingOptimizer,
        *,
        prefetch: bool = False,
    ) -> None:
        kind = PrefetchTrainPipelineSparseDist if prefetch else TrainPipelineSparseDist
        self.dmp = dmp
        self.pipeline = kind(dmp, optimizer, dmp.device, custom_model_fwd=forward)

    @property
    def prefetched(self) -> int:
        """Batches that were taken and not yet trained on."""
        return len(self.pipeline.batches)

    def progress(self, batches: Iterator[Batch]) -> Any:
        """Trains on the next batch; those that it took before come first, also of another iterator.

        Raises:
            StopIteration: there is none.
        """
        return self.pipeline.progress(batches)

    def detach(self) -> None:
        """Gives the model back its own forward, so that it can be called.

        Raises:
            RuntimeError: batches are under way, whose ids or rows a call would mix up with its own.
        """
        if self.prefetched:
            raise RuntimeError(
                f"the pipeline has {self.prefetched} batches under way; end its iterator first"
            )
        self.pipeline.detach()

    def attach(self) -> None:
        """Takes the model over again."""
        unlock_caches(self.dmp)
        self.pipeline.attach(self.dmp)


def make_pipeline(
    dmp: DistributedModelParallel, forward: Forward, optimizer: TrainingOptimizer, settings: TrainingSettings
) -> PlainPipeline | OverlappedPipeline:
    """The pipeline that the settings ask for; call ``detach`` before the model is called outside of it.

    Args:
        dmp: the sharded model.
        forward: calls it.
        optimizer: updates it.
        settings: ``pipeline`` is read.

    Raises:
        TrainingError: ``sparse_dist`` or ``prefetch`` is asked for and cannot work for this model, or here.
    """
    kind = settings.pipeline
    if kind == "prefetch" and dmp.device.type == "cpu":
        raise TrainingError(
            "training.pipeline: prefetch fills the caches that tables have on a GPU (kernel "
            "fused_uvm_caching), and this run is on CPU; take sparse_dist"
        )
    if kind == "auto" and dmp.device.type == "cpu" and dist.get_world_size() == 1:
        kind = "plain"  # nothing is exchanged
    if kind != "plain":
        obstacle = _obstacle(dmp)
        if obstacle is None:
            return OverlappedPipeline(dmp, forward, optimizer, prefetch=kind == "prefetch")
        name = "sparse_dist" if kind == "auto" else kind
        message = f"pipeline {name} cannot trace the model's forward ({obstacle})"
        if kind != "auto":
            raise TrainingError(
                f"{message}; set training.pipeline to plain, or let forward only pass attributes of the "
                "batch to the collections of tables, and their results to one other module"
            )
        logger.info(f"{message}; the plain pipeline is used")
    return PlainPipeline(forward, optimizer, dmp.device)


def _cpu_has_bf16() -> bool:
    """Whether the processor computes in bfloat16; without it torch emulates that, many times slower."""
    return any(found for name, found in torch.cpu.get_capabilities().items() if "bf16" in name)


def _obstacle(dmp: DistributedModelParallel) -> str | None:
    """Why TorchRec's pipeline cannot find the collections' inputs by tracing; None if it can."""
    model = dmp.module
    try:
        Tracer(leaf_modules=_get_leaf_module_names(model)).trace(model)
    except Exception as error:  # tracing runs the model's code on placeholders, where anything may fail
        return f"{type(error).__name__}: {str(error).partition('. ')[0]}"
    return None
