"""Batches that are dataclasses of tensors: copied to a device, pinned and kept alive field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torchrec.streamable import Pipelineable
from typing_extensions import Self

__all__ = ["TensorBatch"]


@dataclass
class TensorBatch(Pipelineable):
    """Base of a batch whose fields are tensors, KeyedJaggedTensors, dataclasses of them, or None.

    It has what TorchRec's overlapped pipelines ask of a batch. Derive a dataclass from it, with fields.

    Example::

        >>> @dataclass
        ... class Clicks(TensorBatch):
        ...     users: torch.Tensor
        ...     labels: torch.Tensor | None = None
        >>> Clicks(torch.arange(3)).to(torch.device("meta")).users.device
        device(type='meta')
    """

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """Return a copy on ``device``."""
        return _map(self, lambda value: value.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return a copy in page-locked memory, from which copies to a GPU overlap with work."""
        return _map(self, lambda value: value.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the tensors' memory until ``stream`` is done with them."""
        _map(self, lambda value: value.record_stream(stream) or value)


def _map(batch: Any, change: Callable[[Any], Any]) -> Any:
    """Return a copy of a dataclass with every tensor in it changed."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    changed = {
        name: _map(value, change) if is_dataclass(value) else change(value)
        for name, value in values.items()
        if value is not None
    }
    return replace(batch, **changed)
