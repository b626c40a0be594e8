"""The mask blocks of a parallel MaskNet: as plain operations, and block by block for a CPU.

Shapes: N rows, n input columns, K blocks, r mask rank, o columns of a block.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from interactrank.modules.dropout import zero_random_entries

EPS = 1e-5


class MaskBlockWeights(NamedTuple):
    """Weights of all blocks.

    Attributes:
        mask: [K, r, n], B.
        mask_bias: [K, 1, n], b.
        hidden: [K, n, o], V.
        gain: [K, o] of the norms.
        bias: [K, o] of the norms.
    """

    mask: Tensor
    mask_bias: Tensor
    hidden: Tensor
    gain: Tensor
    bias: Tensor


def mask_blocks(x: Tensor, rank_rows: Tensor, weights: MaskBlockWeights, dropout: float) -> Tensor:
    """Compute relu(LN(V_k (x * (B_k h_k + b_k)))) of every block, one after the other in the columns.

    MaskNet, arXiv 2102.07619, section 3 (mask block on feature embedding). On a CPU in one precision the
    blocks run one after the other (:class:`_BlockByBlock`); elsewhere, and if a compiler fuses operations
    itself, they run as batched products.

    Args:
        x: [N, n].
        rank_rows: [N, K * r], h, block after block.
        weights: of the blocks.
        dropout: share of the outputs set to zero; survivors are not rescaled.

    Returns:
        [N, K * o], none negative.
    """
    if _one_by_one(x, weights.hidden):
        out: Tensor = _BlockByBlock.apply(x, rank_rows, dropout, *weights)
        return out
    return _batched(x, rank_rows, dropout, *weights)


def _one_by_one(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or x.device.type != "cpu":
        return False
    return x.dtype == weight.dtype and not torch.is_autocast_enabled("cpu")


def _batched(x: Tensor, rank_rows: Tensor, dropout: float, *of_blocks: Tensor) -> Tensor:
    weights = MaskBlockWeights(*of_blocks)
    blocks, rank, _ = weights.mask.shape
    h = rank_rows.unflatten(-1, (blocks, rank)).transpose(0, 1)
    masks = torch.baddbmm(weights.mask_bias, h, weights.mask)  # [K, N, n]
    hidden = torch.bmm(masks * x.to(masks.dtype), weights.hidden)  # [K, N, o]
    # One LayerNorm per block: a single call over [K, N, o] would need a second pass for gain and bias.
    normed = [
        zero_random_entries(F.layer_norm(y, y.shape[-1:], g, b, EPS), dropout)
        for y, g, b in zip(hidden.unbind(0), weights.gain.unbind(0), weights.bias.unbind(0), strict=True)
    ]
    return F.relu(torch.cat(normed, dim=-1), inplace=True)


class _BlockByBlock(torch.autograd.Function):
    """The blocks one after the other, each finished while its columns are in the cache, and written in place.

    What autograd would copy (the concatenation, its gradient's parts, the stack of the parts for the batched
    products) is not there: 6 passes over [N, K * o] fewer, and less memory. It differentiates once.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rank_rows: Tensor, dropout: float, *of_blocks: Tensor) -> Tensor:
        weights = MaskBlockWeights(*of_blocks)
        blocks, rank, _ = weights.mask.shape
        rows, width = x.shape[0], weights.hidden.shape[-1]
        h = rank_rows.view(rows, blocks, rank).transpose(0, 1)
        masks = torch.baddbmm(weights.mask_bias, h, weights.mask)
        out = x.new_empty(rows, blocks, width)
        kept = []
        for k in range(blocks):
            hidden = torch.mm(masks[k] * x, weights.hidden[k])
            normed, mean, inverse_std = torch.native_layer_norm(
                hidden, (width,), weights.gain[k], weights.bias[k], EPS
            )
            torch.clamp_min(zero_random_entries(normed, dropout), 0, out=out[:, k])
            kept += [hidden, mean, inverse_std]
        ctx.save_for_backward(x, rank_rows, masks, out, *weights, *kept)
        return out.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, rank_rows, masks, out, *saved = ctx.saved_tensors
        weights, kept = MaskBlockWeights(*saved[:5]), saved[5:]
        (rows, blocks, width), rank = out.shape, weights.mask.shape[1]
        grad = grads[0].reshape(rows, blocks, width)
        d_hidden_weight, d_masks = torch.empty_like(weights.hidden), torch.empty_like(masks)
        d_gain, d_bias = torch.empty_like(weights.gain), torch.empty_like(weights.bias)
        d_x = torch.zeros_like(x)
        for k in range(blocks):
            hidden, mean, inverse_std = kept[3 * k : 3 * k + 3]
            d_normed = torch.ops.aten.threshold_backward(grad[:, k], out[:, k], 0)
            d_hidden, d_gain[k], d_bias[k] = torch.ops.aten.native_layer_norm_backward(
                d_normed, hidden, (width,), mean, inverse_std, weights.gain[k], weights.bias[k], [True] * 3
            )
            torch.mm((masks[k] * x).t(), d_hidden, out=d_hidden_weight[k])
            d_product = torch.mm(d_hidden, weights.hidden[k].t())
            torch.mul(d_product, x, out=d_masks[k])
            d_x.addcmul_(d_product, masks[k])
        h = rank_rows.view(rows, blocks, rank).transpose(0, 1)
        d_rank_rows = torch.bmm(d_masks, weights.mask.transpose(1, 2)).transpose(0, 1).reshape_as(rank_rows)
        d_mask_weight = torch.bmm(h.transpose(1, 2), d_masks)
        d_mask_bias = d_masks.sum(1, keepdim=True)
        return d_x, d_rank_rows, None, d_mask_weight, d_mask_bias, d_hidden_weight, d_gain, d_bias
