"""A copy of a state in the CPU's memory, which a thread can write while training goes on.

New memory is slow at its first use, as the system has to make every page of it. So it is made, and used
once, by a thread when training begins, and kept from copy to copy. Copies are made by several threads, as one
does not use up the memory's bandwidth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.distributed._shard.sharded_tensor import Shard, ShardedTensor

__all__ = ["Staging"]

StatePath = tuple[str | int, ...]
Pair = tuple[Tensor, Tensor]

_THREADS = 4
_PIECE = 1 << 22  # numbers that a thread copies at once


class Staging:
    """Memory for copies of a state: of nested dicts and lists, with tensors, whole and sharded ones."""

    def __init__(self) -> None:
        self._held: dict[StatePath, Tensor] = {}
        self._allocated: Future[None] | None = None

    def allocate(self, state: dict[str, Any]) -> None:
        """Allocate the memory for copies of such a state in a thread; return at once, :meth:`copy` waits.

        Args:
            state: only its shapes are read.
        """
        thread = ThreadPoolExecutor(1, "interactrank-staging")
        self._allocated = thread.submit(self._touch, state)
        thread.shutdown(wait=False)  # it ends when the memory is there

    def copy(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of the state; the next call overwrites it.

        Args:
            state: memory that was not allocated for it before is allocated now.
        """
        if self._allocated is not None:
            self._allocated.result()
            self._allocated = None
        pairs: list[Pair] = []
        held: dict[str, Any] = self._hold(state, (), pairs)
        _copy(pairs)
        return held

    def _touch(self, state: dict[str, Any]) -> None:
        for path, value in _tensors(state, ()):
            for tensor in _parts(self._memory(value, path)):
                tensor.zero_()

    def _hold(self, value: Any, path: StatePath, pairs: list[Pair]) -> Any:
        """Return the state with tensors of its own; add each one and the source to fill it from to pairs."""
        if isinstance(value, dict):
            return {key: self._hold(part, (*path, key), pairs) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._hold(part, (*path, n), pairs) for n, part in enumerate(value))
        if not isinstance(value, Tensor):
            return copy.deepcopy(value)
        held = self._memory(value, path)
        pairs += zip(_parts(held), _parts(value), strict=True)
        return held

    def _memory(self, value: Tensor, path: StatePath) -> Tensor:
        held = self._held.get(path)
        if held is None or _shape(held) != _shape(value):
            held = self._held[path] = _like(value)
        return held


def _copy(pairs: list[Pair]) -> None:
    pieces: list[Pair] = []
    for target, source in pairs:
        if source.is_cuda:
            target.copy_(source)  # in this thread, whose stream knows when the source is complete
        elif source.is_contiguous():
            parts = (of.view(-1).split(_PIECE) for of in (target, source))
            pieces += zip(*parts, strict=True)
        else:
            pieces.append((target, source))
    with ThreadPoolExecutor(_THREADS, "interactrank-copy") as threads:
        for _ in threads.map(lambda pair: pair[0].copy_(pair[1]), pieces):
            pass  # raises what a thread raised


def _tensors(value: Any, path: StatePath) -> Iterator[tuple[StatePath, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(part, (*path, key))


def _parts(value: Tensor) -> list[Tensor]:
    """Return the parts of a tensor that this rank holds."""
    if isinstance(value, ShardedTensor):
        return [shard.tensor.detach() for shard in value.local_shards()]
    return [value.detach()]


def _shape(value: Tensor) -> list[tuple[torch.Size, torch.dtype]]:
    return [(part.shape, part.dtype) for part in _parts(value)]


def _like(value: Tensor) -> Tensor:
    """Memory for a tensor, or for a rank's parts of it; for copies from a GPU its pages are locked."""
    if not isinstance(value, ShardedTensor):
        return _empty(value, locked=value.is_cuda and value.numel() > 0)
    metadata = copy.deepcopy(value.metadata())
    for part in metadata.shards_metadata:
        assert part.placement is not None
        part.placement._device = torch.device("cpu")  # as torch's own ShardedTensor.cpu does
    parts = [shard.tensor for shard in value.local_shards()]
    # Torch refuses parts that differ in this from what the metadata says; one without numbers has no pages.
    locked = bool(parts) and all(part.is_cuda and part.numel() > 0 for part in parts)
    metadata.tensor_properties.pin_memory = locked
    places = {tuple(part.shard_offsets): part for part in metadata.shards_metadata}
    shards = [
        Shard(_empty(shard.tensor, locked=locked), places[tuple(shard.metadata.shard_offsets)])
        for shard in value.local_shards()
    ]
    return ShardedTensor._init_from_local_shards_and_global_metadata(
        shards, metadata, process_group=value._process_group
    )


def _empty(value: Tensor, *, locked: bool) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, pin_memory=locked)
