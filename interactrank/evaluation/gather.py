"""Gather the request frames of all ranks, so that distributed evaluation gives the numbers of one process.

Each rank evaluates its own requests, any number of them, none included, and every rank calls
:func:`gather_frame` once. Rows are then put in the order of a key that is unique to a request, so that
neither the number of ranks nor the way requests were dealt out changes a sum, a draw of the bootstrap or a
digit of the result.

Columns travel as raw bytes (nothing is pickled).

Shapes: R requests of this rank, T requests of all ranks.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from interactrank.evaluation.metric_frame import MetricFrame, num_requests, select_requests

__all__ = ["gather_frame", "sort_frame"]


def gather_frame(
    frame: Mapping[str, NDArray[Any]], *, key: str = "request_id", group: dist.ProcessGroup | None = None
) -> MetricFrame:
    """Return the rows of all ranks, sorted by key, on every rank.

    Args:
        frame: the R rows of this rank: numbers, booleans or numpy text; the same columns on every rank, also
            on one without a request (R = 0).
        key: a column that is different for every request of all ranks.
        group: the process group; the default one when left out. Without one running, the frame is only
            sorted.

    Returns:
        The T rows of all ranks.

    Raises:
        KeyError: the frame has no column ``key``.
        TypeError: a column holds Python objects.
        ValueError: ranks disagree on the columns (raised on every rank), or a key occurs twice, as when a
            sampler repeats requests to even out the ranks.

    Example::

        >>> gather_frame({"request_id": np.array([7, 3]), "mrr": np.array([0.5, 1.0])})
        {'request_id': array([3, 7]), 'mrr': array([1. , 0.5])}
    """
    columns = {name: np.ascontiguousarray(column) for name, column in frame.items()}
    if key not in columns:
        raise KeyError(f"no column {key!r} to sort by; the frame has {', '.join(columns)}")
    for name, column in columns.items():
        if column.dtype.kind not in "biufU":
            raise TypeError(
                f"column {name!r} has dtype {column.dtype}; only numbers, booleans and numpy text "
                "travel between ranks"
            )
    rows = num_requests(columns)
    if not (dist.is_available() and dist.is_initialized()):
        return sort_frame(columns, key)

    device = _device(group)
    # Text columns are as wide as the longest text of their rank; all must use the widest.
    widths = torch.tensor([c.dtype.itemsize for c in columns.values()], device=device)
    header = torch.tensor([rows, len(columns), _signature(columns)], dtype=torch.int64, device=device)
    headers = torch.stack(_all_gather(header, group)).cpu()
    if not (headers[:, 1:] == headers[0, 1:]).all():
        raise ValueError(
            f"ranks disagree on the columns of the request frame; this rank has "
            f"{ {name: column.dtype.kind for name, column in columns.items()} }. "
            "A rank without a request needs the same columns with no row"
        )
    dist.all_reduce(widths, op=dist.ReduceOp.MAX, group=group)
    counts = headers[:, 0].tolist()
    gathered: MetricFrame = {}
    for (name, column), width in zip(columns.items(), widths.tolist(), strict=True):
        if column.dtype.kind == "U":
            column = column.astype(f"<U{width // 4}")
        gathered[name] = _gather_column(column, counts, device, group)
    return sort_frame(gathered, key)


def sort_frame(frame: Mapping[str, NDArray[Any]], key: str = "request_id") -> MetricFrame:
    """Return the rows in the order of a key that is unique to a request.

    Args:
        frame: the per-request frame.
        key: the column to sort by.

    Returns:
        A new frame.

    Raises:
        ValueError: a key occurs twice.

    Example::

        >>> sort_frame({"request_id": np.array(["b", "b"])})
        Traceback (most recent call last):
            ...
        ValueError: request_id 'b' occurs 2 times; evaluate every request once (a sampler may repeat some)
    """
    keys, counts = np.unique(frame[key], return_counts=True)
    if (counts > 1).any():
        at = (counts > 1).argmax()
        raise ValueError(
            f"{key} {keys[at].item()!r} occurs {counts[at]} times; evaluate every request once "
            "(a sampler may repeat some)"
        )
    return select_requests(frame, np.argsort(frame[key], kind="stable"))


def _gather_column(
    column: NDArray[Any], counts: list[int], device: torch.device, group: dist.ProcessGroup | None
) -> NDArray[Any]:
    """One column of all ranks, [T]; ranks pad to the longest, as collectives need equal sizes."""
    size = column.dtype.itemsize
    padded = torch.zeros(max(counts) * size, dtype=torch.uint8)
    if column.nbytes:
        padded[: column.nbytes] = torch.frombuffer(bytearray(column.tobytes()), dtype=torch.uint8)
    parts = _all_gather(padded.to(device), group)
    return np.concatenate(
        [
            np.frombuffer(part.cpu().numpy().tobytes()[: count * size], dtype=column.dtype)
            for part, count in zip(parts, counts, strict=True)
        ]
    )


def _all_gather(tensor: torch.Tensor, group: dist.ProcessGroup | None) -> list[torch.Tensor]:
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, tensor, group=group)
    return parts


def _signature(columns: Mapping[str, NDArray[Any]]) -> int:
    """Return a number that differs between frames of other columns or types (the width of text aside)."""
    kinds = [(name, c.dtype.kind if c.dtype.kind == "U" else c.dtype.str) for name, c in columns.items()]
    return zlib.crc32(repr(kinds).encode())


def _device(group: dist.ProcessGroup | None) -> torch.device:
    """Where the collectives of the group take tensors."""
    if dist.get_backend(group) == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
