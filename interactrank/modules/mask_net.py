"""Parallel MaskNet: feature crossing by instance-guided masks.

Shapes: N rows, n input columns, K blocks, r mask rank, o columns of a block.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_rate, require_width
from interactrank.modules.mask_blocks import MaskBlockWeights, mask_blocks


class ParallelMaskNet(nn.Module):
    """K mask blocks side by side on the same input.

    Block k computes ``relu(LN(V_k (x * m_k(x))))`` with the mask ``m_k(x) = B_k relu(A_k x + a_k) + b_k``;
    the outputs are concatenated. MaskNet, arXiv 2102.07619, section 3 (parallel model); InteractRank,
    arXiv 2504.06609, figure 2 ("feature crossing").

    The first linear maps of the masks are one GEMM [n -> K r]; the rest is :func:`mask_blocks`.

    Args:
        in_dim: n.
        blocks: K.
        block_dim: o.
        mask_ratio: r = int(mask_ratio * n), at least 1.
        dropout: share of the outputs set to zero while training.

    Example::

        >>> import torch
        >>> net = ParallelMaskNet(in_dim=20, blocks=4, block_dim=8)
        >>> net(torch.zeros(3, 20)).shape, net.out_dim, net.rank
        (torch.Size([3, 32]), 32, 2)
    """

    def __init__(
        self,
        *,
        in_dim: int,
        blocks: int = 4,
        block_dim: int = 2048,
        mask_ratio: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive(in_dim=in_dim, blocks=blocks, block_dim=block_dim)
        require_rate(dropout=dropout)
        if mask_ratio <= 0:
            raise ValueError(f"mask_ratio is {mask_ratio}; it must be above 0.")
        self.in_dim, self.out_dim = in_dim, blocks * block_dim
        self.blocks, self.block_dim, self.rank = blocks, block_dim, max(1, int(in_dim * mask_ratio))
        self.dropout = dropout
        self.mask_in = nn.Linear(in_dim, blocks * self.rank)
        self.mask_out_weight = nn.Parameter(torch.empty(blocks, self.rank, in_dim))
        self.mask_out_bias = nn.Parameter(torch.empty(blocks, 1, in_dim))
        self.hidden_weight = nn.Parameter(torch.empty(blocks, in_dim, block_dim))
        self.norm_weight = nn.Parameter(torch.ones(blocks, block_dim))
        self.norm_bias = nn.Parameter(torch.zeros(blocks, block_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the linear maps uniformly in +-1/sqrt(inputs), as ``nn.Linear`` does."""
        self.mask_in.reset_parameters()
        nn.init.uniform_(self.mask_out_weight, -1 / math.sqrt(self.rank), 1 / math.sqrt(self.rank))
        nn.init.uniform_(self.mask_out_bias, -1 / math.sqrt(self.rank), 1 / math.sqrt(self.rank))
        nn.init.uniform_(self.hidden_weight, -1 / math.sqrt(self.in_dim), 1 / math.sqrt(self.in_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Cross the columns of ``x``.

        Args:
            x: [N, n].

        Returns:
            [N, K * o], block after block, none negative.
        """
        require_width(self, x, self.in_dim)
        rate = self.dropout if self.training else 0.0
        weights = MaskBlockWeights(
            mask=self.mask_out_weight,
            mask_bias=self.mask_out_bias,
            hidden=self.hidden_weight,
            # relu(c v) = c relu(v): dropout's factor goes into K * o gains, not into N * K * o outputs.
            gain=self.norm_weight / (1 - rate),
            bias=self.norm_bias / (1 - rate),
        )
        return mask_blocks(x, F.relu(self.mask_in(x)), weights, rate)
