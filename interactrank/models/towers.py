"""SideEncoder: representation layers and tower of one side, requests or items.

Shapes: N rows (R requests or I items), H heads, D embedding dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interactrank.batch import BatchLayout
from interactrank.models.settings import TowerSettings
from interactrank.modules import (
    MLP,
    DCNv2,
    NumericNorm,
    NumericStats,
    ParallelMaskNet,
    Tower,
    normalize_heads,
)


class SideEncoder(nn.Module):
    """Embeddings, normalised numbers and vectors of one side -> unit vectors per head.

    Args:
        layout: the features of the side.
        side: ``request`` or ``item``.
        settings: layers of the tower.
        heads: H.
        dim: D.
        extra: columns of further inputs (the user sequence).
    """

    def __init__(
        self, *, layout: BatchLayout, side: str, settings: TowerSettings, heads: int, dim: int, extra: int = 0
    ) -> None:
        super().__init__()
        self.features = [f.name for f in layout.sparse(side)]
        numbers, vectors = layout.numbers(side), layout.vectors(side)
        self.num_numbers, self.vector_dims = len(numbers), [int(f.dim or 0) for f in vectors]
        stats = {f.name: NumericStats(**layout.number_stats[f.name]) for f in numbers}
        self.numbers = NumericNorm(stats=stats) if numbers else None
        self.vectors = nn.ModuleList(nn.LayerNorm(d) for d in self.vector_dims)
        width = sum(layout.schema.tables[str(f.table)].dim for f in layout.sparse(side)) + extra
        width += (self.numbers.out_dim if self.numbers else 0) + sum(self.vector_dims)
        if width == 0:  # a side that knows nothing: one constant input
            width = 1
        self.width, self.heads = width, heads
        crossing = _crossing(width, settings)
        mlp = MLP(
            in_dim=crossing.out_dim,
            hidden_dims=settings.hidden_dims,
            out_dim=heads * dim,
            dropout=settings.dropout,
        )
        self.tower = Tower(crossing=crossing, mlp=mlp, heads=heads, dim=dim)
        self.dropout = nn.Dropout(settings.input_dropout)
        self.residual = nn.Linear(width, heads * dim, bias=False) if settings.residual else None

    def forward(self, embeddings: dict[str, Tensor], dense: Tensor, extra: Sequence[Tensor]) -> Tensor:
        """Encode rows.

        Args:
            embeddings: feature -> [N, d].
            dense: [N, *] numbers, then vectors; NaN where missing.
            extra: further inputs, each [N, *].

        Returns:
            [N, H, D] float32 unit vectors.
        """
        parts = [embeddings[name] for name in self.features]
        if self.numbers is not None:
            parts.append(self.numbers(dense[:, : self.num_numbers]))
        start = self.num_numbers
        for norm, width in zip(self.vectors, self.vector_dims, strict=True):
            parts.append(norm(torch.nan_to_num(dense[:, start : start + width])))
            start += width
        parts.extend(extra)
        x = torch.cat(parts, -1) if parts else dense.new_ones(dense.shape[0], 1)
        x = self.dropout(x)
        if self.residual is None:
            return self.tower(x)
        hidden = self.tower.mlp(self.tower.crossing(self.tower.norm(x)))
        return normalize_heads(hidden + self.residual(x), heads=self.heads)


class _Same(nn.Module):
    """No feature crossing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_dim = self.out_dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return x


def _crossing(width: int, settings: TowerSettings) -> ParallelMaskNet | DCNv2 | _Same:
    if settings.crossing == "none":
        return _Same(width)
    if settings.crossing == "dcn":
        return DCNv2(in_dim=width, layers=settings.blocks)
    return ParallelMaskNet(
        in_dim=width,
        blocks=settings.blocks,
        block_dim=settings.block_dim,
        mask_ratio=settings.mask_ratio,
        dropout=settings.dropout,
    )
