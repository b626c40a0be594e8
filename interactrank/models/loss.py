"""RankingLoss: what InteractRank is trained on, put together from the loss modules.

Shapes: R requests, I items, C candidates, H heads, D embedding dim.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from interactrank.batch import SearchBatch
from interactrank.models.settings import LossSettings
from interactrank.modules.losses import (
    HeadWeighting,
    ListwiseSoftmax,
    LogQ,
    RankCounts,
    SampledSoftmax,
    Temperature,
    binary_focal_loss,
    global_mean,
    weighted_bce,
)
from interactrank.modules.segments import segment_ids, segment_sum


class LossCounts(nn.Module):
    """What :class:`RankingLoss` must know of the batches of all ranks, asked for in one message.

    Args:
        settings: of the loss; only what its parts need is counted.
    """

    def __init__(self, *, settings: LossSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, batch: SearchBatch, fits_projection: Tensor | None = None) -> RankCounts:
        """Start to count candidates, requests with a positive, and positives [H]; arguments: as the loss."""
        s, labels = self.settings, batch.labels
        counts = {}
        if s.pointwise_weight:
            counts["candidates"] = labels.new_tensor(len(labels))
        request = segment_ids(batch.candidate_lengths, len(labels))
        if s.listwise_weight:
            found = segment_sum(labels, request, len(batch.candidate_lengths))
            counts["requests"] = (found > 0).float().sum(0)
        if s.sampled_softmax_weight:
            counts["positives"] = (_of_towers(labels, request, fits_projection) > 0).float().sum(0)
        return RankCounts(counts, rows=len(batch.item_index))


def _of_towers(labels: Tensor, candidate_request: Tensor, fits_projection: Tensor | None) -> Tensor:
    """Return [C, H] labels, 0 for requests that fit the projection."""
    if fits_projection is None:
        return labels
    return labels * ~fits_projection[candidate_request].unsqueeze(-1)


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
        counts: RankCounts | None = None,
        alone: Tensor | None = None,
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
            counts: what :class:`LossCounts` gave for the same batch; None to ask the ranks now.
            alone: [C, H] logits of cross features alone: they get the gradients of the same losses and do not
                change their values; None without.

        Returns:
            The scalar loss, and detached: ``scores`` and ``labels`` [C, H] and ``loss/<name>`` of each part,
            before its weight.
        """
        if counts is None:
            counts = LossCounts(settings=self.settings)(batch, fits_projection)
        total = 0 * scores.sum()  # every weight gets a gradient, whichever parts there are
        parts, of_scores = self._of_scores(batch, scores, counts)
        total = total + of_scores
        if alone is not None:
            _, of_alone = self._of_scores(batch, alone, counts)
            total = total + of_alone - of_alone.detach()
        if self.sampled_softmax is not None:
            labels = _of_towers(batch.labels, candidate_request, fits_projection)
            losses = self.sampled_softmax(
                query, item, batch.item_index, candidate_request, batch.candidate_item, labels, counts=counts
            )
            mean = global_mean(losses, mean_count=counts["positives"])
            parts["sampled_softmax"] = (mean * self.heads.weights).sum()
            total = total + self.settings.sampled_softmax_weight * parts["sampled_softmax"]
        reported = {f"loss/{name}": value.detach() for name, value in parts.items()}
        return total, {"scores": scores.detach(), "labels": batch.labels, **reported}

    def _of_scores(
        self, batch: SearchBatch, scores: Tensor, counts: RankCounts
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses of scores [C, H], and their weighted sum."""
        parts: dict[str, Tensor] = {}
        total = scores.new_zeros(())
        s = self.settings
        if s.pointwise_weight:
            parts["pointwise"] = self.heads(self._pointwise(batch, scores), mean_count=counts["candidates"])
            total = total + s.pointwise_weight * parts["pointwise"]
        if s.listwise_weight:
            losses = self.listwise(
                scores,
                batch.labels,
                batch.candidate_lengths,
                weights=batch.weights,
                log_sampling=batch.sampling_log_q,
            )
            mean = global_mean(losses, mean_count=counts["requests"])
            parts["listwise"] = (mean * self.heads.weights).sum()
            total = total + s.listwise_weight * parts["listwise"]
        return parts, total

    def _pointwise(self, batch: SearchBatch, scores: Tensor) -> Tensor:
        weights = batch.weights.unsqueeze(-1)
        if self.settings.pointwise == "bce":
            return weighted_bce(scores, batch.labels, weights)
        return binary_focal_loss(scores, batch.labels, weights, gamma=self.settings.focal_gamma)
