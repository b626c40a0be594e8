"""Rows of all ranks, with the gradient sent back to the rank that owns each row.

Shapes: N rows of this rank, A rows of all ranks.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size(group: dist.ProcessGroup | None = None) -> int:
    """Return the number of ranks; 1 if torch.distributed is not set up."""
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


def gather_sizes(rows: int, device: torch.device, group: dist.ProcessGroup | None = None) -> list[int]:
    """Return the rows of every rank.

    It waits for the device: sizes that differ between ranks cannot be known otherwise.
    """
    sizes = torch.empty(world_size(group), dtype=torch.int64, device=device)
    dist.all_gather_into_tensor(sizes, torch.tensor([rows], device=device), group=group)
    return [int(size) for size in sizes.tolist()]


def gather_rows(x: Tensor, sizes: list[int], group: dist.ProcessGroup | None = None) -> Tensor:
    """Concatenate the rows of all ranks.

    Args:
        x: [N, ...]; N may differ between ranks.
        sizes: N of every rank, from :func:`gather_sizes`.
        group: the ranks; None for all.

    Returns:
        [A, ...], in the order of the ranks. Its gradient is summed over ranks and given to the owner.
    """
    out: Tensor = _GatherRows.apply(x, sizes, group)
    return out


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: dist.ProcessGroup | None) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        most = max(sizes)
        padded = x.new_zeros(most, *x.shape[1:])
        padded[: x.shape[0]] = x.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad, group=ctx.group)
        rank = dist.get_rank(ctx.group)
        start = sum(ctx.sizes[:rank])
        return grad[start : start + ctx.sizes[rank]], None, None
