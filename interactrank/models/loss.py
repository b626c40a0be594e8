"""RankingLoss: what InteractRank is trained on, put together from the loss modules.

Shapes: R requests, I items, C candidates, H heads, D embedding dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interactrank.batch import SearchBatch
from interactrank.models.settings import LossSettings
from interactrank.modules.losses import (
    HeadWeighting,
    ListwiseSoftmax,
    LogQ,
    SampledSoftmax,
    Temperature,
    binary_focal_loss,
    mean_over_positive,
    weighted_bce,
)


class RankingLoss(nn.Module):
    """Weighted sum of a pointwise loss and two softmax losses, each averaged over the heads.

    - pointwise: focal or binary cross-entropy of every candidate, times its weight;
    - listwise softmax: a request's positives against its own candidates, on the final score;
    - sampled softmax: a request's positives against the items of all requests, on the dot product.

    Args:
        head_weights: one for each head, not normalised.
        settings: the parts and their weights.
    """

    def __init__(self, *, head_weights: Sequence[float], settings: LossSettings) -> None:
        super().__init__()
        self.settings = settings
        self.heads = HeadWeighting(weights=head_weights)
        self.listwise = ListwiseSoftmax()
        self.sampled_softmax = None
        if settings.sampled_softmax_weight:
            self.sampled_softmax = SampledSoftmax(
                temperature=Temperature(initial=settings.temperature),
                log_q=LogQ() if settings.log_q else None,
            )

    def forward(
        self,
        batch: SearchBatch,
        candidate_request: Tensor,
        scores: Tensor,
        query: Tensor,
        item: Tensor,
        fits_projection: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and what to report of it.

        Args:
            batch: labels, weights and ids.
            candidate_request: [C] in 0..R-1.
            scores: [C, H] logits.
            query: [R, H, D].
            item: [I, D].
            fits_projection: [R] bool, requests whose positives do not count in the sampled softmax; None for
                none.

        Returns:
            The scalar loss, and detached: ``scores`` and ``labels`` [C, H] and ``loss/<name>`` of each part,
            before its weight.
        """
        parts: dict[str, Tensor] = {}
        total = 0 * scores.sum()  # every weight gets a gradient, whichever parts there are
        s = self.settings
        if s.pointwise_weight:
            parts["pointwise"] = self.heads(self._pointwise(batch, scores))
            total = total + s.pointwise_weight * parts["pointwise"]
        if s.listwise_weight:
            losses = self.listwise(
                scores,
                batch.labels,
                batch.candidate_lengths,
                weights=batch.weights,
                log_sampling=batch.sampling_log_q,
            )
            positive = torch.zeros_like(losses).index_add(0, candidate_request, batch.labels) > 0
            parts["listwise"] = (mean_over_positive(losses, positive) * self.heads.weights).sum()
            total = total + s.listwise_weight * parts["listwise"]
        if self.sampled_softmax is not None:
            labels = batch.labels
            if fits_projection is not None:
                labels = labels * ~fits_projection[candidate_request].unsqueeze(-1)
            losses = self.sampled_softmax(
                query, item, batch.item_index, candidate_request, batch.candidate_item, labels
            )
            parts["sampled_softmax"] = (mean_over_positive(losses, labels > 0) * self.heads.weights).sum()
            total = total + s.sampled_softmax_weight * parts["sampled_softmax"]
        reported = {f"loss/{name}": value.detach() for name, value in parts.items()}
        return total, {"scores": scores.detach(), "labels": batch.labels, **reported}

    def _pointwise(self, batch: SearchBatch, scores: Tensor) -> Tensor:
        weights = batch.weights.unsqueeze(-1)
        if self.settings.pointwise == "bce":
            return weighted_bce(scores, batch.labels, weights)
        return binary_focal_loss(scores, batch.labels, weights, gamma=self.settings.focal_gamma)
