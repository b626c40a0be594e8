"""Stacks of dense layers.

Shapes: N rows.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_rate, require_width


class LowRankLinear(nn.Module):
    """y = x U V + b: a linear layer of ``rank * (in + out)`` weights.

    Args:
        in_dim: columns of the input.
        out_dim: columns of the output.
        rank: columns of U.

    Example::

        >>> import torch
        >>> layer = LowRankLinear(in_dim=100, out_dim=80, rank=4)
        >>> layer(torch.zeros(3, 100)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([3, 80]), 800)
    """

    def __init__(self, *, in_dim: int, out_dim: int, rank: int) -> None:
        super().__init__()
        require_positive(in_dim=in_dim, out_dim=out_dim, rank=rank)
        self.in_dim, self.out_dim, self.rank = in_dim, out_dim, rank
        self.left = nn.Parameter(torch.empty(in_dim, rank))
        self.right = nn.Parameter(torch.empty(rank, out_dim))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        nn.init.kaiming_uniform_(self.left, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.right, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_dim] to [..., out_dim]."""
        require_width(self, x, self.in_dim)
        return x @ self.left @ self.right + self.bias


class DenseLayer(nn.Module):
    """Linear -> ReLU -> LayerNorm, the unit of :class:`MLP`.

    Args:
        in_dim: columns of the input.
        hidden_dim: columns that the linear map adds.
        rank: rank of the linear map; None for a full one.
        skip: concatenate the input before the linear map's output; the ReLU then clips both.
        norm_first: LayerNorm before ReLU.
        dropout: share of the outputs set to zero while training.
    """

    def __init__(
        self,
        *,
        in_dim: int,
        hidden_dim: int,
        rank: int | None = None,
        skip: bool = False,
        norm_first: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, hidden_dim + (in_dim if skip else 0)
        self.skip, self.norm_first = skip, norm_first
        self.linear = dense_linear(in_dim=in_dim, out_dim=hidden_dim, rank=rank)
        self.norm = nn.LayerNorm(self.out_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_dim] to [N, out_dim]."""
        y = self.linear(x)
        if self.skip:
            y = torch.cat([x.to(y.dtype), y], dim=-1)
        y = F.relu(self.norm(y)) if self.norm_first else self.norm(F.relu(y))
        return self.dropout(y)


class MLP(nn.Module):
    """Dense layers (Linear -> ReLU -> LayerNorm), then a plain linear map.

    Args:
        in_dim: columns of the input.
        hidden_dims: columns of each hidden layer; empty for the final map alone.
        out_dim: columns of the final linear map; None for no final map (``hidden_dims`` must not be empty).
        low_ranks: rank of each hidden layer's linear map, None for a full one.
        skip: each hidden layer passes its input on with its output.
        norm_first: LayerNorm before ReLU in hidden layers.
        dropout: share of the hidden outputs set to zero while training.

    Raises:
        ValueError: a size below 1, ``low_ranks`` of another length than ``hidden_dims``, or no layer at all.

    Example::

        >>> import torch
        >>> mlp = MLP(in_dim=8, hidden_dims=[16, 4], out_dim=2, low_ranks=[3, None], skip=True)
        >>> mlp(torch.zeros(5, 8)).shape, [layer.out_dim for layer in mlp.hidden]
        (torch.Size([5, 2]), [24, 28])
    """

    def __init__(
        self,
        *,
        in_dim: int,
        hidden_dims: Sequence[int],
        out_dim: int | None,
        low_ranks: Sequence[int | None] | None = None,
        skip: bool = False,
        norm_first: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive(in_dim=in_dim, **{f"hidden_dims[{i}]": dim for i, dim in enumerate(hidden_dims)})
        require_rate(dropout=dropout)
        ranks = list(low_ranks) if low_ranks is not None else [None] * len(hidden_dims)
        if len(ranks) != len(hidden_dims):
            raise ValueError(f"low_ranks has {len(ranks)} entries for {len(hidden_dims)} hidden layers.")
        if out_dim is None and not hidden_dims:
            raise ValueError("MLP without hidden_dims needs an out_dim.")
        self.in_dim = width = in_dim
        self.hidden = nn.ModuleList()
        for dim, rank in zip(hidden_dims, ranks, strict=True):
            layer = DenseLayer(
                in_dim=width, hidden_dim=dim, rank=rank, skip=skip, norm_first=norm_first, dropout=dropout
            )
            self.hidden.append(layer)
            width = layer.out_dim
        self.final = dense_linear(in_dim=width, out_dim=out_dim) if out_dim is not None else nn.Identity()
        self.out_dim = width if out_dim is None else out_dim

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_dim] to [N, out_dim]."""
        require_width(self, x, self.in_dim)
        for layer in self.hidden:
            x = layer(x)
        return self.final(x)


def dense_linear(*, in_dim: int, out_dim: int, rank: int | None = None) -> nn.Module:
    """Return a linear map with Xavier-uniform weights and bias 0, or a :class:`LowRankLinear`."""
    require_positive(in_dim=in_dim, out_dim=out_dim)
    if rank is not None:
        return LowRankLinear(in_dim=in_dim, out_dim=out_dim, rank=rank)
    linear = nn.Linear(in_dim, out_dim)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
