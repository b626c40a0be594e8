"""Row-wise sharded pooled tables on CPU when the ranks' batches differ in size.

TorchRec sums the partial rows of a row-wise table by a reduce-scatter whose backward pass is an all-gather.
Gloo refuses that all-gather when ranks have different numbers of rows ("invalid tensor size"), and here they
always have: each batch has its own number of distinct items. The same sum by an all-to-all has no such limit
and moves as many bytes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchrec.distributed import comm_ops, dist_data
from torchrec.distributed.types import NoWait, QuantizedCommCodecs

__all__ = ["allow_uneven_batches"]

_original = dist_data.reduce_scatter_v_pooled


class _SumToOwners(torch.autograd.Function):
    """[sum of splits, D] partial rows of every rank -> [splits[rank], D] sums for this rank's own rows."""

    @staticmethod
    def forward(
        ctx: Any, partial: Tensor, splits: list[int], group: dist.ProcessGroup, codecs: QuantizedCommCodecs
    ) -> Tensor:
        ctx.splits, ctx.group, ctx.codec = splits, group, codecs.backward
        size, mine = group.size(), splits[group.rank()]
        sent = codecs.forward.encode(partial.contiguous())
        parts = sent.new_empty(size * mine, partial.shape[1])
        dist.all_to_all_single(parts, sent, [mine] * size, splits, group=group)
        return codecs.forward.decode(parts).view(size, mine, partial.shape[1]).sum(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        size, splits = ctx.group.size(), ctx.splits
        mine = splits[ctx.group.rank()]
        sent = ctx.codec.encode(gradient.repeat(size, 1))
        received = sent.new_empty(sum(splits), gradient.shape[1])
        dist.all_to_all_single(received, sent, splits, [mine] * size, group=ctx.group)
        result = ctx.codec.decode(received)
        if comm_ops.GRADIENT_DIVISION:  # as TorchRec does, so that the loss counts as the mean over all ranks
            result.div_(size)
        return result, None, None, None


def _reduce_scatter_v_pooled(
    input: Tensor, input_splits: list[int], group: dist.ProcessGroup | None = None, codecs: Any = None
) -> Any:
    group = group or dist.group.WORLD
    if input.device.type != "cpu" or group is None or group.size() == 1:
        return _original(input, input_splits, group, codecs)
    return NoWait(_SumToOwners.apply(input, input_splits, group, codecs or QuantizedCommCodecs()))


def allow_uneven_batches() -> None:
    """Makes TorchRec use the sum above for tensors on CPU; TorchRec has no setting for it."""
    dist_data.reduce_scatter_v_pooled = _reduce_scatter_v_pooled
