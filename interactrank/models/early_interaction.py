"""EarlyInteraction: an MLP over query, item and cross features of every candidate.

The rival that pre-ranking with a dot product must be held against: more can be said of a pair, and nothing of
it lies ready before the request. COLD, arXiv 2007.16122, section 3.

Shapes: R requests, C candidates, N items of a catalogue, H heads, D embedding dim, F cross features.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from interactrank.batch import CrossFeatureTensors
from interactrank.models.interactrank import InteractRank
from interactrank.models.scoring import CrossInputs, ScoreHead
from interactrank.models.settings import ModelSettings
from interactrank.modules import WeightedBatchNorm

__all__ = ["EarlyInteraction", "EarlyInteractionHead"]

BLOCK = 1 << 14  # candidates of a catalogue at a time


class EarlyInteractionHead(ScoreHead):
    """The score of :class:`ScoreHead`, for the dot product <q, i> + tanh MLP [q, i, q * i, cross features].

    q [H * D] and i [D] are the towers' vectors, so that features of one side still meet once a request or
    item. It begins as the score without the MLP, whose last layer is 0 at first. With
    ``loader.projection_share`` the MLP is fitted with the towers, since it learns pairs by heart as they do;
    the projection is told by later requests how far to trust the two. So the MLP is bounded as a dot product
    of unit vectors is: it could else grow by as much as the projection takes its weight back. How cross
    features are smoothed is learned by the projection alone.

    Args:
        heads: H.
        settings: of the model.
        others: of :class:`ScoreHead`.
    """

    separable: ClassVar[bool] = False

    def __init__(self, *, heads: int, settings: ModelSettings, **others: Any) -> None:
        super().__init__(heads=heads, settings=settings, **others)
        features, dims = self.project.features, settings.interaction.hidden_dims
        width = (2 * heads + 1) * settings.dim
        self.norm = WeightedBatchNorm(features=width + features)
        layers: list[nn.Module] = []
        for width_in, width_out in zip([width + 2 * features, *dims], dims, strict=False):
            layers += [nn.Linear(width_in, width_out), nn.ReLU(), nn.Dropout(settings.interaction.dropout)]
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Linear(dims[-1], heads)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        query: Tensor,
        item: Tensor,
        candidate_request: Tensor,
        candidate_item: Tensor,
        cross: CrossFeatureTensors,
        fits_projection: Tensor | None = None,
    ) -> Tensor:
        """Return [C, H] logits; arguments are those of :meth:`ScoreHead.forward`."""
        support = cross.support if len(cross.support) == 1 else cross.support[candidate_request]
        read = self._read(cross.rate, support, cross.number, cross.counts)
        dots = self.dots(query, item, candidate_request, candidate_item)
        i = item.index_select(0, candidate_item)
        # For a single request, as in serving, no query is copied before the layers.
        q = query.expand(len(i), -1, -1) if len(query) == 1 else query.index_select(0, candidate_request)
        apart = None if fits_projection is None else fits_projection[candidate_request]
        return self._fit(dots + self._joint(q, i, read), read, apart)

    def catalogue(self, query: Tensor, item: Tensor, cross: CrossFeatureTensors) -> Tensor:
        """Return [R, N, H] logits; hidden layers are kept of some items of one request at a time."""
        scores = []
        for r in range(len(query)):
            for rows in torch.arange(len(item), device=item.device).split(BLOCK):
                some = CrossFeatureTensors(
                    cross.rate[r, rows],
                    cross.support[r : r + 1],
                    cross.number[r, rows],
                    cross.counts[r, rows],
                )
                scores.append(self(query[r : r + 1], item, torch.zeros_like(rows), rows, some))
        return torch.cat(scores).view(len(query), len(item), -1)

    def _joint(self, query: Tensor, item: Tensor, read: CrossInputs) -> Tensor:
        """Return [C, H] from [C, H, D] and [C, D] vectors and the cross features."""
        columns = [query.flatten(1), item, (query * item.unsqueeze(1)).flatten(1)]
        flags: list[Tensor] = []
        if read.values is not None:
            values = read.values.detach()
            missing = torch.zeros_like(values)
            if read.unknown is not None:
                unknown = read.unknown.expand(values.shape)
                missing, values = unknown.to(values.dtype), torch.where(unknown, 0, values)
            columns.append(values)
            flags.append(missing)
        x = torch.cat([c.float() for c in columns], 1)
        with torch.autocast(x.device.type, enabled=False):  # cross features of 1e-4 next to 1 need float32
            corrected: Tensor = self.out(self.hidden(torch.cat([self.norm(x), *flags], 1)))
        return corrected.tanh()


class EarlyInteraction(InteractRank):
    """InteractRank with :class:`EarlyInteractionHead`."""

    Head: ClassVar[type[ScoreHead]] = EarlyInteractionHead
