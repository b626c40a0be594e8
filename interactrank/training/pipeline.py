"""One training step: batch to the device, forward, backward, update; plain, or overlapped by TorchRec.

An overlapped pipeline prefetches. It gets a segment of the batches, which ends at the next evaluation or
checkpoint, so that it is empty there; see :meth:`~interactrank.training.DataSchedule.segments`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.train_pipeline import PrefetchTrainPipelineSparseDist, TrainPipelineSparseDist
from torchrec.distributed.train_pipeline.pipeline_context import TrainPipelineContext
from torchrec.distributed.train_pipeline.tracing import Tracer, _get_leaf_module_names
from torchrec.streamable import Pipelineable

from interactrank.core.errors import TrainingError
from interactrank.sharding.direct_lookups import exchanges_nothing
from interactrank.sharding.one_exchange import one_exchange
from interactrank.sharding.torchrec_patches.cache_locks import unlock_caches
from interactrank.training.batch_protocol import count_samples, move_batch, sample_unit
from interactrank.training.optimizers import TrainingOptimizer
from interactrank.training.settings import TrainingSettings

__all__ = ["Forward", "OverlappedPipeline", "Pipeline", "PlainPipeline", "StepResult", "make_pipeline"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepResult:
    """What a step gave on this rank.

    Attributes:
        loss: [] the loss, detached and on the device.
        parts: the model's outputs named ``loss/<part>``, detached.
        samples: number of samples of the batch.
        unit: what the batch calls its samples.
        outputs: all outputs of the model.
    """

    loss: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    samples: int = 0
    unit: str = "samples"
    outputs: Any = None


class Forward:
    """Calls the model under autocast and keeps what the step gave.

    Args:
        model: batch -> (loss, outputs). The loss is the mean over this rank's batch. Outputs are anything; if
            they are a mapping, its entries named ``loss/<part>`` are reported.
        device: where it computes.
        bf16: whether matrix products run in bfloat16.

    Attributes:
        result: of the last call, without its outputs.
    """

    def __init__(self, model: nn.Module, device: torch.device, bf16: bool) -> None:
        self.model = model
        self.device = device
        self.bf16 = bf16
        self.result = StepResult(torch.zeros(()))

    def __call__(self, batch: Any) -> tuple[Tensor, Any]:
        """Return loss and outputs of a batch."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            loss, outputs = self.model(batch)
        named = outputs if isinstance(outputs, Mapping) else {}
        self.result = StepResult(
            loss=loss.detach(),
            parts={name: value.detach() for name, value in named.items() if name.startswith("loss/")},
            samples=count_samples(batch),
            unit=sample_unit(batch),
        )
        return loss, outputs


class Pipeline(Protocol):
    """Trains on batches, one a call; holds the model while it is attached."""

    @property
    def prefetched(self) -> int:
        """Number of batches taken from the iterator and not yet trained on."""

    def progress(self, batches: Iterator[Any]) -> StepResult:
        """Train on the next batch; prefetched ones come first, also those of another iterator.

        Raises:
            StopIteration: there is none.
        """

    def detach(self) -> None:
        """Give the model back its own forward, so that it can be called."""

    def attach(self) -> None:
        """Take the model over again."""


class PlainPipeline:
    """One step after the other; fastest for a single rank on CPU, which has nothing to overlap.

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
        """Return 0: nothing is prefetched."""
        return 0

    def progress(self, batches: Iterator[Any]) -> StepResult:
        """Train on the next batch.

        Raises:
            StopIteration: there is none.
        """
        batch = next(batches)
        if self.device.type != "cpu":
            batch = move_batch(batch, self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss, outputs = self.forward(batch)
        loss.backward()
        self.optimizer.step()
        return replace(self.forward.result, outputs=outputs)

    def detach(self) -> None:
        """Do nothing: the model can be called at any time."""

    def attach(self) -> None:
        """Do nothing."""


class _SparseDist(TrainPipelineSparseDist):
    """TorchRec's pipeline, with the ids of all collections in one message, and none of those without one."""

    _pipelined_modules: list[Any]
    _original_forwards: list[Any]

    def start_sparse_data_dist(self, batch: Any, context: TrainPipelineContext) -> None:
        """Send how many ids go where, of the collections that exchange any."""
        kept = [not exchanges_nothing(module) for module in self._pipelined_modules]
        if any(kept) and not all(kept):  # a pipeline without a collection would trace the model once more
            for module, forward in zip(self._pipelined_modules, self._original_forwards, strict=True):
                if exchanges_nothing(module):
                    module.forward = forward
            self._original_forwards = list(compress(self._original_forwards, kept))
            self._pipelined_modules = list(compress(self._pipelined_modules, kept))
        super().start_sparse_data_dist(batch, context)

    def wait_sparse_data_dist(self, context: TrainPipelineContext) -> None:
        """Wait for how many ids go where, and send them."""
        with one_exchange():
            super().wait_sparse_data_dist(context)


class OverlappedPipeline:
    """TorchRec's pipelines, which prefetch up to two batches.

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
        kind = PrefetchTrainPipelineSparseDist if prefetch else _SparseDist
        self.dmp = dmp
        self.forward = forward
        self.pipeline = kind(dmp, optimizer, dmp.device, custom_model_fwd=forward)

    @property
    def prefetched(self) -> int:
        """Number of batches taken from the iterator and not yet trained on."""
        return len(self.pipeline.batches)

    def progress(self, batches: Iterator[Any]) -> StepResult:
        """Train on the next batch; prefetched ones come first, also those of another iterator.

        Raises:
            StopIteration: there is none.
            TrainingError: the batches are of a type that TorchRec's pipelines do not take.
        """
        try:
            outputs = self.pipeline.progress(batches)
        except AssertionError as error:
            if Pipelineable.__name__ not in str(error):
                raise
            raise TrainingError(
                f"the overlapped pipeline cannot take this batch: {error}. Derive it from "
                "interactrank.training.TensorBatch, or set training.pipeline to plain"
            ) from error
        return replace(self.forward.result, outputs=outputs)

    def detach(self) -> None:
        """Give the model back its own forward, so that it can be called.

        Raises:
            RuntimeError: batches are prefetched, whose ids or rows a call would mix up with its own.
        """
        if self.prefetched:
            raise RuntimeError(
                f"the pipeline has prefetched {self.prefetched} batches; train on them before you call the "
                "model (end the iterator)"
            )
        self.pipeline.detach()

    def attach(self) -> None:
        """Take the model over again."""
        unlock_caches(self.dmp)
        self.pipeline.attach(self.dmp)


def make_pipeline(
    dmp: DistributedModelParallel, optimizer: TrainingOptimizer, settings: TrainingSettings
) -> Pipeline:
    """Return the pipeline that the settings ask for; detach it before you call the model yourself.

    Args:
        dmp: the sharded model.
        optimizer: updates it.
        settings: ``pipeline`` and ``autocast`` are read.

    Raises:
        TrainingError: ``sparse_dist`` or ``prefetch`` is asked for and cannot work for this model, or here.
    """
    bf16 = settings.autocast == "bf16"
    if bf16 and dmp.device.type == "cpu" and not _cpu_has_bf16():
        logger.warning("training.autocast: bf16 is slower than none here: this CPU has no bf16 instructions")
    forward = Forward(dmp, dmp.device, bf16)
    kind = settings.pipeline
    if kind == "prefetch" and dmp.device.type == "cpu":
        raise TrainingError(
            "training.pipeline: prefetch fills the caches that tables have on a GPU (kernel "
            "fused_uvm_caching), and this run is on CPU; use sparse_dist"
        )
    if kind == "auto" and dmp.device.type == "cpu" and dist.get_world_size() == 1:
        kind = "plain"  # nothing is exchanged
    if kind != "plain":
        obstacle = _tracing_obstacle(dmp)
        if obstacle is None:
            return OverlappedPipeline(dmp, forward, optimizer, prefetch=kind == "prefetch")
        name = "sparse_dist" if kind == "auto" else kind
        message = f"pipeline {name} cannot trace the model's forward ({obstacle})"
        if kind != "auto":
            raise TrainingError(
                f"{message}; set training.pipeline to plain, or let forward only pass attributes of the "
                "batch to the collections of tables, and their results to one other module"
            )
        logger.info("%s; the plain pipeline is used", message)
    return PlainPipeline(forward, optimizer, dmp.device)


def _cpu_has_bf16() -> bool:
    """Return whether the processor computes in bfloat16; else torch emulates it, many times slower."""
    return any(found for name, found in torch.cpu.get_capabilities().items() if "bf16" in name)


def _tracing_obstacle(dmp: DistributedModelParallel) -> str | None:
    """Return why TorchRec's pipeline cannot find the collections' inputs by tracing; None if it can."""
    model = dmp.module
    try:
        Tracer(leaf_modules=_get_leaf_module_names(model)).trace(model)
    except Exception as error:  # tracing runs the model's code on placeholders, where anything may fail
        return f"{type(error).__name__}: {str(error).partition('. ')[0]}"
    return None
