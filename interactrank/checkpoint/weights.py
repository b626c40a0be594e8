"""The weights of a sharded model as one safetensors file, and back into an unsharded model.

The file has the names of the unsharded model's ``state_dict``, so evaluation and serving open it in one
process without a process group. Saving streams: rank 0 holds a block of rows at a time, never a whole model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor

from interactrank.core.errors import UserError
from interactrank.core.files import atomic_write
from interactrank.distributed.collectives import raise_on_all_ranks
from interactrank.modules import ManagedIds

__all__ = ["WeightsError", "load_model", "save_model"]

_BLOCK_BYTES = 64 << 20
_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class WeightsError(UserError, ValueError):
    """A weights file that cannot be read or is of another model; the message names the first difference."""


def save_model(dmp: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the whole model as safetensors, from rank 0, whole or not at all. All ranks must call it.

    Args:
        dmp: a sharded model; an unsharded one works, too, as long as a process group is open.
        path: the file to write, seen by rank 0.

    Raises:
        OSError: the file cannot be written (on other ranks a RankError that quotes it).
    """
    state = dict(sorted(dmp.state_dict().items()))
    header = _header(state)
    # Rank 0 keeps receiving after a failed write, as the others keep sending; then all ranks raise.
    if dist.get_rank() == 0:
        with raise_on_all_ranks("writing the weights"):
            blocks = _blocks(state)
            try:
                atomic_write(path, lambda temporary: _write(temporary, header, blocks))
            finally:
                for _ in blocks:
                    pass
    else:
        for _ in _blocks(state):
            pass
        with raise_on_all_ranks("writing the weights"):
            pass


@torch.no_grad()
def load_model(
    model: nn.Module, path: str | os.PathLike[str], *, grown: bool = False, mapped: bool = False
) -> None:
    """Fill an unsharded model from a file of :func:`save_model`; needs no process group.

    Args:
        model: built from the settings of the run that wrote the file.
        path: the file.
        grown: tables of the model may have more rows than those of the file; a further row is row 0, as which
            its value is read by a table without it.
        mapped: make the weights views of the mapped file instead of copies, not together with ``grown``:
            nothing is read before it is needed, processes share the pages, and tables may be on the ``meta``
            device. They are to be read only.

    Raises:
        WeightsError: the file is unreadable or truncated, or of another model (nothing is loaded then).
    """
    mine = model.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            theirs = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            for key in sorted({*theirs, *mine}):
                if not (grown and _is_longer(mine.get(key), theirs.get(key))):
                    _check_entry(path, key, theirs.get(key), mine.get(key))
            if mapped:
                model.load_state_dict({key: file.get_tensor(key) for key in mine}, assign=True)
                mine = {}
            for key, target in mine.items():
                rows = file.get_tensor(key)
                if target.shape == rows.shape:
                    target.copy_(rows)
                else:
                    target[: len(rows)].copy_(rows)
                    target[len(rows) :] = rows[0]
        for module in model.modules():
            if isinstance(module, ManagedIds):
                module.validate_state()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable weights file ({error})") from error


def _is_longer(target: Tensor | None, saved: tuple[int, ...] | None) -> bool:
    """Return whether a table of the model has further rows, and is otherwise that of the file."""
    if target is None or saved is None or target.ndim != 2 or len(saved) != 2:
        return False
    return target.shape[1] == saved[1] and target.shape[0] > saved[0] > 0


def _check_entry(path: object, key: str, saved: tuple[int, ...] | None, target: Tensor | None) -> None:
    remedy = "build the model from the settings saved next to the file"
    if target is None:
        raise WeightsError(f"{path}: '{key}' is in the file but not in the model; {remedy}")
    if saved is None:
        raise WeightsError(f"{path}: '{key}' is in the model but not in the file; {remedy}")
    if saved != tuple(target.shape):
        raise WeightsError(
            f"{path}: '{key}' is {saved} in the file and {tuple(target.shape)} in the model; {remedy}"
        )


def _header(state: dict[str, Tensor | ShardedTensor]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for key, value in state.items():
        shape = list(value.size())
        end = start + torch.Size(shape).numel() * value.dtype.itemsize
        entries[key] = {"dtype": _DTYPES[value.dtype], "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write(path: Path, header: bytes, blocks: Iterator[Tensor]) -> None:
    file: BinaryIO
    with path.open("wb") as file:
        file.write(header)
        for block in blocks:
            file.write(block.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _blocks(state: dict[str, Tensor | ShardedTensor]) -> Iterator[Tensor]:
    """Yield the tensors' rows in order, in blocks: on rank 0 their values, on the others empty tensors."""
    for value in state.values():
        if isinstance(value, ShardedTensor):
            yield from _gathered(value)
        else:
            yield value.detach().cpu()


def _gathered(value: ShardedTensor) -> Iterator[Tensor]:
    """Yield blocks of rows of a sharded table; every rank sends its shards of a block to rank 0."""
    rank = dist.get_rank()
    rows, *dims = value.size()
    dim = dims[0] if dims else 1  # buffers of managed tables have no columns
    step = max(1, _BLOCK_BYTES // (dim * value.dtype.itemsize))
    local = {
        tuple(s.metadata.shard_offsets): s.tensor.detach().view(len(s.tensor), -1)
        for s in value.local_shards()
    }
    parts = value.metadata().shards_metadata
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        block = torch.empty((stop - start, dim) if rank == 0 else (0, dim), dtype=value.dtype)
        for part in parts:
            (row, *columns), (height, *widths) = part.shard_offsets, part.shard_sizes
            column, width = (columns[0], widths[0]) if dims else (0, 1)
            first, last = max(start, row), min(stop, row + height)
            if first >= last or width == 0:
                continue
            assert part.placement is not None
            owner = part.placement.rank()
            if rank == owner:
                piece = local[tuple(part.shard_offsets)][first - row : last - row].cpu().contiguous()
                if rank != 0:
                    dist.send(piece, dst=0)
            if rank == 0:
                if owner != 0:
                    piece = torch.empty((last - first, width), dtype=value.dtype)
                    dist.recv(piece, src=owner)
                block[first - start : last - start, column : column + width] = piece
        yield block
