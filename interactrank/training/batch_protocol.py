"""The batches that training takes: any dataclass, mapping or sequence of tensors and KeyedJaggedTensors.

A batch may say how many samples it has and what they are called; without that its first tensor tells.
TorchRec's overlapped pipelines ask more of it: see :class:`Batch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor
from typing_extensions import Self

__all__ = ["Batch", "count_samples", "move_batch", "named_tensors", "sample_unit"]

_LEAVES = (Tensor, JaggedTensor, KeyedJaggedTensor)


class Batch(Protocol):
    """A batch for any pipeline: a subclass of :class:`torchrec.streamable.Pipelineable`.

    :class:`~interactrank.core.tensor_batch.TensorBatch` has all but ``num_samples``.

    ``sample_unit``, a name such as ``requests``, may be added: the speed is then reported as
    ``requests_per_s``, else as ``samples_per_s``.
    """

    @property
    def num_samples(self) -> int:
        """Number of samples, for the reported speed."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """Return a copy on ``device``."""

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the tensors' memory until ``stream`` is done with them."""


def count_samples(batch: object) -> int:
    """Return ``batch.num_samples``, or else the length of its first tensor; 0 without a tensor.

    Example::

        >>> count_samples({"numbers": torch.zeros(3, 2), "labels": torch.zeros(3)})
        3
    """
    if (count := getattr(batch, "num_samples", None)) is not None:
        return int(count)
    for _, leaf in _leaves(batch, ""):
        if isinstance(leaf, KeyedJaggedTensor):
            return leaf.stride()
        if isinstance(leaf, JaggedTensor):
            return leaf.lengths().numel()
        return leaf.shape[0] if leaf.ndim else 1
    return 0


def sample_unit(batch: object) -> str:
    """Return what a batch calls its samples, ``samples`` if it does not say."""
    return getattr(batch, "sample_unit", "samples")


def named_tensors(batch: object) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch with their names; of a jagged one the values, key by key.

    Example::

        >>> [(name, tuple(t.shape)) for name, t in named_tensors((torch.zeros(2), {"a": torch.zeros(3, 1)}))]
        [('0', (2,)), ('1.a', (3, 1))]
    """
    for name, leaf in _leaves(batch, ""):
        if isinstance(leaf, KeyedJaggedTensor):
            # SIM118: a KeyedJaggedTensor is not a dict; iterating over it does not give its keys.
            yield from ((f"{name}.{key}".lstrip("."), leaf[key].values()) for key in leaf.keys())  # noqa: SIM118
        else:
            yield name, leaf.values() if isinstance(leaf, JaggedTensor) else leaf


def move_batch(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on ``device``; by its own method ``to`` if it has one."""
    if hasattr(batch, "to"):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: move_batch(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        moved = [move_batch(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: move_batch(getattr(batch, f.name), device) for f in fields(batch)})
    return batch


def _leaves(value: object, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the tensors within a value, in order; anything else is left out."""
    parts: Iterator[tuple[Any, Any]]
    if isinstance(value, _LEAVES):
        yield name, value
        return
    if isinstance(value, Mapping):
        parts = iter(value.items())
    elif isinstance(value, list | tuple):
        parts = zip(getattr(value, "_fields", range(len(value))), value, strict=True)
    elif is_dataclass(value):
        parts = ((f.name, getattr(value, f.name)) for f in fields(value))
    else:
        return
    for key, part in parts:
        yield from _leaves(part, f"{name}.{key}" if name else str(key))
