"""SideEncoder: representation layers and tower of one side, requests or items.

Shapes: N rows (R requests or I items), H heads, D embedding dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from interactrank.batch.layout import BatchLayout
from interactrank.models.settings import TowerSettings
from interactrank.modules import (
    MLP,
    DCNv2,
    DenseVectorNorm,
    FeatureConcat,
    NumericNorm,
    NumericStats,
    ParallelMaskNet,
    Tower,
)

NUMBERS, EXTRA = "(numbers)", "(extra)"  # names that do not belong to a feature


class SideEncoder(nn.Module):
    """Embeddings, normalised numbers and vectors of one side -> unit vectors per head.

    A side without any input gets one learned input: the same vector for all its rows.

    Args:
        layout: the features of the side.
        side: ``request`` or ``item``.
        settings: layers of the tower.
        heads: H.
        dim: D.
        extra: columns of further inputs (the user sequence).
    """

    def __init__(
        self,
        *,
        layout: BatchLayout,
        side: Literal["request", "item"],
        settings: TowerSettings,
        heads: int,
        dim: int,
        extra: int = 0,
    ) -> None:
        super().__init__()
        sparse, numbers, vectors = layout.sparse(side), layout.numbers(side), layout.vectors(side)
        self.embedded = [f.name for f in sparse]
        widths = {f.name: int(f.dim or 0) for f in vectors}
        self.sections = [len(numbers), *widths.values()]
        norm = NumericNorm(stats={f.name: NumericStats(**layout.number_stats[f.name]) for f in numbers})
        self.numbers = norm if norm.out_dim else None  # without any, its weights would have no gradient
        self.vectors = DenseVectorNorm(dims=widths)
        dims = {f.name: layout.schema.tables[str(f.table)].dim for f in sparse}
        dims |= {NUMBERS: norm.out_dim, **widths, EXTRA: extra}
        self.concat = FeatureConcat(dims={name: dim for name, dim in dims.items() if dim})
        width, self.unknown = self.concat.out_dim, None
        if width == 0:
            width, self.unknown = dim, nn.Parameter(torch.randn(dim))
        crossing = _crossing(width, settings)
        mlp = MLP(
            in_dim=crossing.out_dim,
            hidden_dims=settings.hidden_dims,
            out_dim=heads * dim,
            dropout=settings.dropout,
        )
        self.dropout = nn.Dropout(settings.input_dropout)
        self.tower = Tower(crossing=crossing, mlp=mlp, heads=heads, dim=dim, residual=settings.residual)

    def forward(self, embeddings: dict[str, Tensor], dense: Tensor, extra: Sequence[Tensor]) -> Tensor:
        """Encode rows.

        Args:
            embeddings: feature -> [N, d].
            dense: [N, *] numbers, then vectors; NaN where missing.
            extra: further inputs, each [N, *].

        Returns:
            [N, H, D] float32 unit vectors.
        """
        if self.unknown is not None:
            return self.tower(self.unknown.expand(dense.shape[0], -1))
        numbers, *vectors = dense.split(self.sections, dim=1)
        features = {name: embeddings[name] for name in self.embedded}
        if self.numbers is not None:
            features[NUMBERS] = self.numbers(numbers)
        named = zip(self.vectors.features, vectors, strict=True)
        features |= self.vectors({name: torch.nan_to_num(x) for name, x in named})
        if extra:
            features[EXTRA] = torch.cat(list(extra), -1)
        return self.tower(self.dropout(self.concat(features)))


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
