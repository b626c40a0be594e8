"""Row-wise sharded pooled tables on CPU when the ranks' batches differ in size.

Symptom: the backward pass fails with "ProcessGroupGloo::allgather: invalid tensor size".

Cause: TorchRec sums the partial rows of a row-wise table by a reduce-scatter whose backward pass is an
all-gather. Gloo refuses it when ranks have different numbers of rows, which they always have here: each
batch has its own number of distinct items. The same sum by an all-to-all has no such limit and moves as
many bytes.

Upstream: https://github.com/pytorch/pytorch/issues/156627 (open).

Versions: seen in TorchRec 1.8.0 with torch 2.13.0.

Remove when: TorchRec's own modules train on such batches
(``tests/sharding/torchrec_patches/test_uneven_gloo.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed import comm_ops
from torchrec.distributed.dist_data import PooledEmbeddingsAwaitable, PooledEmbeddingsReduceScatter
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.distributed.types import NoWait, QuantizedCommCodecs

__all__ = ["allow_uneven_batches"]

_MAKERS = {"_create_output_dist_module": "_dist", "_create_output_dist_modules": "_intra_dist"}
"""Method of TorchRec that makes an output's reduce-scatter in the first batch -> attribute that gets it."""


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


class _UnevenReduceScatter(PooledEmbeddingsReduceScatter):
    """TorchRec's module, but for batches of different sizes on CPU."""

    def forward(self, local_embs: Tensor, input_splits: list[int] | None = None) -> PooledEmbeddingsAwaitable:
        """Return [splits[rank], D] sums of the [sum of splits, D] partial rows of every rank."""
        even = not input_splits or len(set(input_splits)) == 1
        if even or local_embs.device.type != "cpu" or self._pg.size() == 1:
            return super().forward(local_embs, input_splits)
        sums = _SumToOwners.apply(local_embs, input_splits, self._pg, self._codecs or QuantizedCommCodecs())
        return PooledEmbeddingsAwaitable(tensor_awaitable=NoWait(sums))


def allow_uneven_batches(model: nn.Module) -> None:
    """Let the sharded collections of a model use the sum above. Other models keep TorchRec's.

    Args:
        model: a sharded model, before its first batch.
    """
    for module in model.modules():
        if isinstance(module, ShardedEmbeddingBagCollection):
            for output in module._output_dists:
                for maker, attribute in _MAKERS.items():
                    if hasattr(output, maker):
                        make = partial(_make, output, getattr(output, maker), attribute)
                        setattr(output, maker, make)


def _make(output: nn.Module, make: Callable[..., None], attribute: str, *arguments: Any) -> None:
    """Let an output make its modules as TorchRec does, then exchange its reduce-scatter."""
    make(*arguments)
    made = getattr(output, attribute)
    if type(made) is PooledEmbeddingsReduceScatter:  # not that of a batch size for each feature
        setattr(output, attribute, _UnevenReduceScatter(made._pg, made._codecs))
