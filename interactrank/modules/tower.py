"""A tower: one side of the model, from its concatenated features to unit vectors.

Shapes: N rows (requests or items), n columns, H heads, D embedding dim.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_width, widths
from interactrank.modules.mask_net import ParallelMaskNet
from interactrank.modules.mlp import MLP
from interactrank.modules.norm import normalize_heads


class FeatureConcat(nn.Module):
    """Concatenation of named features, in the order in which the module was given their names.

    The order of the features that are passed does not matter, so that weights fit whatever they come from.

    Args:
        dims: feature name -> number of columns, in the order of the output.

    Example::

        >>> import torch
        >>> concat = FeatureConcat(dims={"vector": 2, "clicks": 1})
        >>> concat({"clicks": torch.tensor([7]), "vector": torch.tensor([[1.0, 2.0]])}).tolist()
        [[1.0, 2.0, 7.0]]
    """

    def __init__(self, *, dims: Mapping[str, int]) -> None:
        super().__init__()
        require_positive(**dims)
        self.dims = dict(dims)
        self.out_dim = sum(dims.values())

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Concatenate.

        Args:
            features: exactly the names in ``dims``; [N, columns], or [N] for a single column. Booleans and
                integers are taken as numbers.

        Returns:
            [N, out_dim].

        Raises:
            KeyError: a feature is absent or unknown.
            ValueError: a feature has another number of columns.
        """
        if features.keys() != self.dims.keys():
            absent, unknown = (
                sorted(self.dims.keys() - features.keys()),
                sorted(features.keys() - self.dims.keys()),
            )
            raise KeyError(f"FeatureConcat: absent features {absent}, unknown features {unknown}.")
        columns = []
        for name, dim in self.dims.items():
            x = features[name]
            x = x if x.is_floating_point() else x.float()
            x = x.unsqueeze(-1) if x.dim() == 1 else x
            require_width(self, x, dim, what=f"feature {name!r}")
            columns.append(x)
        return torch.cat(columns, dim=-1)


class Tower(nn.Module):
    """Tower: LayerNorm -> feature crossing -> MLP -> one unit vector per head.

    InteractRank, arXiv 2504.06609, figure 2 (either tower). The query tower has a vector per head, the item
    tower has one vector for all heads.

    Args:
        crossing: maps [N, crossing.in_dim] to [N, crossing.out_dim].
        mlp: maps [N, crossing.out_dim] to [N, heads * dim].
        heads: H.
        dim: D.
        residual: add a plain linear map of the input, which learns ids faster on small logs.

    Raises:
        ValueError: the widths of the parts do not meet.

    Example::

        >>> import torch
        >>> crossing = ParallelMaskNet(in_dim=20, blocks=2, block_dim=16)
        >>> mlp = MLP(in_dim=32, hidden_dims=[8], out_dim=3 * 4)
        >>> tower = Tower(crossing=crossing, mlp=mlp, heads=3, dim=4)
        >>> tower(torch.randn(5, 20)).norm(dim=-1).allclose(torch.ones(5, 3))
        True
    """

    def __init__(
        self, *, crossing: nn.Module, mlp: nn.Module, heads: int, dim: int, residual: bool = False
    ) -> None:
        super().__init__()
        require_positive(heads=heads, dim=dim)
        self.in_dim, crossed = widths(crossing, "crossing")
        mlp_in, mlp_out = widths(mlp, "mlp")
        self.heads, self.dim = heads, dim
        if mlp_in != crossed:
            raise ValueError(f"Tower: mlp.in_dim is {mlp_in}, but the crossing gives {crossed} columns.")
        if mlp_out != heads * dim:
            raise ValueError(f"Tower: mlp.out_dim is {mlp_out}; {heads} heads of {dim} need {heads * dim}.")
        self.norm = nn.LayerNorm(self.in_dim)
        self.crossing = crossing
        self.mlp = mlp
        self.residual = nn.Linear(self.in_dim, heads * dim, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """Encode rows.

        Args:
            x: [N, in_dim].

        Returns:
            [N, H, D], every vector of length 1; float32, or float64 with float64 weights.
        """
        require_width(self, x, self.in_dim)
        hidden = self.mlp(self.crossing(self.norm(x)))
        if self.residual is not None:
            hidden = hidden + self.residual(x)
        return normalize_heads(hidden, heads=self.heads)


def mask_net_tower(
    *,
    in_dim: int,
    heads: int,
    dim: int = 64,
    blocks: int = 4,
    block_dim: int = 2048,
    mask_ratio: float = 0.1,
    hidden_dims: Sequence[int] = (512, 256),
    dropout: float = 0.0,
) -> Tower:
    """Build the tower with the reference's sizes: a parallel MaskNet, then an MLP.

    Args:
        in_dim: columns of the concatenated features.
        heads: H.
        dim: D.
        blocks, block_dim, mask_ratio, dropout: of :class:`ParallelMaskNet`.
        hidden_dims: of :class:`MLP`.

    Returns:
        A tower [N, in_dim] -> [N, H, D].

    Example::

        >>> mask_net_tower(in_dim=30, heads=1, dim=8, block_dim=16, hidden_dims=[8]).crossing.out_dim
        64
    """
    crossing = ParallelMaskNet(
        in_dim=in_dim, blocks=blocks, block_dim=block_dim, mask_ratio=mask_ratio, dropout=dropout
    )
    mlp = MLP(in_dim=crossing.out_dim, hidden_dims=hidden_dims, out_dim=heads * dim)
    return Tower(crossing=crossing, mlp=mlp, heads=heads, dim=dim)
