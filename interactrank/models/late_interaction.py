"""LateInteraction: the best matches of several vectors a side instead of one dot product.

Items still lie ready before the request. IntTower, arXiv 2210.09890, section 3.2 (FE-Block). It matches the
vectors of all layers of the query tower, this model those of the last one. The maximum over vectors is that
of ColBERT, arXiv 2004.12832, section 3.2.

Shapes: R requests, I items, C candidates, N items of a catalogue, H heads, D embedding dim, K vectors.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from interactrank.models.interactrank import InteractRank
from interactrank.models.scoring import ScoreHead
from interactrank.models.settings import ModelSettings

__all__ = ["LateInteraction", "LateInteractionHead"]


class LateInteractionHead(ScoreHead):
    """The score of :class:`ScoreHead` with sum_k max_j <q_k, i_j> in the place of the dot product.

    q_k and i_j are the K pieces of D / K columns of the towers' vectors.

    Args:
        settings: of the model.
        others: of :class:`ScoreHead`.

    Raises:
        ValueError: the vectors of the settings do not divide D.
    """

    separable: ClassVar[bool] = False

    def __init__(self, *, settings: ModelSettings, **others: Any) -> None:
        super().__init__(settings=settings, **others)
        self.vectors = settings.interaction.vectors
        if settings.dim % self.vectors:
            raise ValueError(
                f"model.interaction.vectors is {self.vectors}; it must divide model.dim, {settings.dim}."
            )

    def dots(self, query: Tensor, item: Tensor, candidate_request: Tensor, candidate_item: Tensor) -> Tensor:
        """Return [C, H] sums of the best matches."""
        if len(query) == 1:  # as in serving: no query is copied
            return self.all_dots(query, item.index_select(0, candidate_item))[0]
        q = query.float().unflatten(-1, (self.vectors, -1)).index_select(0, candidate_request)
        i = item.float().unflatten(-1, (self.vectors, -1)).index_select(0, candidate_item)
        matches = torch.einsum("chkd,cjd->chkj", q, i)
        return matches.amax(-1).sum(-1)

    def all_dots(self, query: Tensor, item: Tensor) -> Tensor:
        """Return [R, N, H] sums of the best matches; memory is K^2 times that of the result."""
        q = query.float().unflatten(-1, (self.vectors, -1))
        i = item.float().unflatten(-1, (self.vectors, -1))
        matches = i.transpose(0, 1) @ q.flatten(0, 2).t()  # [K of the item, N, R * H * K]
        return matches.amax(0).unflatten(-1, q.shape[:3]).sum(-1).transpose(0, 1)


class LateInteraction(InteractRank):
    """InteractRank with :class:`LateInteractionHead`."""

    Head: ClassVar[type[ScoreHead]] = LateInteractionHead
