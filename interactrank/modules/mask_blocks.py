"""The mask blocks of a parallel MaskNet: as plain operations, and block by block for a CPU.

Shapes: N rows, n input columns, K blocks, r mask rank, o columns of a block.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from interactrank.modules.dropout import zero_random_entries

EPS = 1e-5


def mask_blocks(
    x: Tensor,
    rank_rows: Tensor,
    mask_weight: Tensor,
    mask_bias: Tensor,
    hidden_weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    dropout: float,
) -> Tensor:
    """relu(LN(V_k (x * (B_k h_k + b_k)))) of every block, side by side.

    On a CPU in one precision the blocks run one after the other (:class:`_BlockByBlock`);
    elsewhere, and where a compiler fuses operations itself, they run as batched products.

    Args:
        x: [N, n].
        rank_rows: [N, K * r], h, block after block.
        mask_weight: [K, r, n], B.
        mask_bias: [K, 1, n], b.
        hidden_weight: [K, n, o], V.
        gain: [K, o] of the norms.
        bias: [K, o] of the norms.
        dropout: share of the outputs set to zero; survivors are not rescaled.

    Returns:
        [N, K * o], none negative.
    """
    arguments = (x, rank_rows, mask_weight, mask_bias, hidden_weight, gain, bias, dropout)
    if _one_by_one(x, hidden_weight):
        out: Tensor = _BlockByBlock.apply(*arguments)
        return out
    return _batched(*arguments)


def _one_by_one(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or x.device.type != "cpu":
        return False
    return x.dtype == weight.dtype and not torch.is_autocast_enabled("cpu")


def _batched(
    x: Tensor,
    rank_rows: Tensor,
    mask_weight: Tensor,
    mask_bias: Tensor,
    hidden_weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    dropout: float,
) -> Tensor:
    blocks, rank, _ = mask_weight.shape
    h = rank_rows.unflatten(-1, (blocks, rank)).transpose(0, 1)
    masks = torch.baddbmm(mask_bias, h, mask_weight)  # [K, N, n]
    hidden = torch.bmm(masks * x.to(masks.dtype), hidden_weight)  # [K, N, o]
    # One LayerNorm per block: a single call over [K, N, o] would need a second pass for gain and bias.
    normed = [
        zero_random_entries(F.layer_norm(y, y.shape[-1:], g, b, EPS), dropout)
        for y, g, b in zip(hidden.unbind(0), gain.unbind(0), bias.unbind(0), strict=True)
    ]
    return F.relu(torch.cat(normed, dim=-1), inplace=True)


class _BlockByBlock(torch.autograd.Function):
    """Finishes a block while its columns are in the cache, and writes them where the concatenation has them.

    What autograd would copy (the concatenation, its gradient's parts, the stack of the parts for the batched
    products) is not there: 6 passes over [N, K * o] fewer, and less memory. It differentiates once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        rank_rows: Tensor,
        mask_weight: Tensor,
        mask_bias: Tensor,
        hidden_weight: Tensor,
        gain: Tensor,
        bias: Tensor,
        dropout: float,
    ) -> Tensor:
        blocks, rank, _ = mask_weight.shape
        rows, width = x.shape[0], hidden_weight.shape[-1]
        h = rank_rows.view(rows, blocks, rank).transpose(0, 1)
        masks = torch.baddbmm(mask_bias, h, mask_weight)
        out = x.new_empty(rows, blocks, width)
        kept = []
        for k in range(blocks):
            hidden = torch.mm(masks[k] * x, hidden_weight[k])
            normed, mean, inverse_std = torch.native_layer_norm(hidden, (width,), gain[k], bias[k], EPS)
            torch.clamp_min(zero_random_entries(normed, dropout), 0, out=out[:, k])
            kept += [hidden, mean, inverse_std]
        ctx.save_for_backward(x, rank_rows, masks, mask_weight, hidden_weight, gain, bias, out, *kept)
        return out.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, rank_rows, masks, mask_weight, hidden_weight, gain, bias, out, *kept = ctx.saved_tensors
        (rows, blocks, width), rank = out.shape, mask_weight.shape[1]
        grad = grads[0].reshape(rows, blocks, width)
        d_hidden_weight, d_masks = torch.empty_like(hidden_weight), torch.empty_like(masks)
        d_gain, d_bias, d_x = torch.empty_like(gain), torch.empty_like(bias), torch.zeros_like(x)
        for k in range(blocks):
            hidden, mean, inverse_std = kept[3 * k : 3 * k + 3]
            d_normed = torch.ops.aten.threshold_backward(grad[:, k], out[:, k], 0)
            d_hidden, d_gain[k], d_bias[k] = torch.ops.aten.native_layer_norm_backward(
                d_normed, hidden, (width,), mean, inverse_std, gain[k], bias[k], [True] * 3
            )
            torch.mm((masks[k] * x).t(), d_hidden, out=d_hidden_weight[k])
            d_product = torch.mm(d_hidden, hidden_weight[k].t())
            torch.mul(d_product, x, out=d_masks[k])
            d_x.addcmul_(d_product, masks[k])
        h = rank_rows.view(rows, blocks, rank).transpose(0, 1)
        d_rank_rows = torch.bmm(d_masks, mask_weight.transpose(1, 2)).transpose(0, 1).reshape_as(rank_rows)
        d_mask_weight = torch.bmm(h.transpose(1, 2), d_masks)
        d_mask_bias = d_masks.sum(1, keepdim=True)
        return d_x, d_rank_rows, d_mask_weight, d_mask_bias, d_hidden_weight, d_gain, d_bias, None
