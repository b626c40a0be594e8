"""Rows of all ranks, with the gradient sent back to the rank that owns each row.

Shapes: N rows of this rank, A rows of all ranks.
"""

from collections.abc import Sequence
from math import prod
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
    out: Tensor = _GatherRows.apply(x, sizes, group)[0]
    return out


def gather_rows_with(
    x: Tensor, others: Sequence[Tensor], sizes: list[int], group: dist.ProcessGroup | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Concatenate the rows of all ranks, with what belongs to each row, in one message.

    Args:
        x: [N, D] floating point; gets gradients.
        others: each [N], of x's type or int64; they get none.
        sizes: N of every rank.
        group: the ranks; None for all.

    Returns:
        [A, D], and each of the others as [A].
    """
    found, *rest = _GatherRows.apply(x, sizes, group, *others)
    return found, rest


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, sizes: list[int], group: dist.ProcessGroup | None, *others: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.sizes, ctx.group = sizes, group
        flat = x.detach().reshape(len(x), prod(x.shape[1:]))
        # The bits of an int64 as numbers of x's type, which are only copied.
        columns = [flat, *(o.detach().reshape(-1, 1).view(x.dtype) for o in others)]
        padded = x.new_zeros(max(sizes), sum(c.shape[1] for c in columns))
        torch.cat(columns, 1, out=padded[: len(x)])
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=group)
        rows = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        first, *rest = rows.split([c.shape[1] for c in columns], 1)
        found = [r.contiguous().view(o.dtype).view(-1) for r, o in zip(rest, others, strict=True)]
        ctx.mark_non_differentiable(*found)
        return first.reshape(-1, *x.shape[1:]), *found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, rank, ranks = grads[0].contiguous(), dist.get_rank(ctx.group), len(ctx.sizes)
        mine = ctx.sizes[rank]
        received = grad.new_empty(ranks * mine, *grad.shape[1:])
        dist.all_to_all_single(received, grad, [mine] * ranks, ctx.sizes, group=ctx.group)
        return received.view(ranks, mine, *grad.shape[1:]).sum(0), None, None, *(None for _ in grads[1:])
