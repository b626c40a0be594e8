"""ModelScorer: ranks by a trained model; CrossBlock: cross features that several models share.

Shapes: R requests, N items of the catalogue, C candidates, H heads, D embedding dim.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import CrossArrays, Jagged
from interactrank.data.loading.collate import request_batch
from interactrank.data.loading.encode_items import encode_items
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank
from interactrank.models.cross_terms import CrossTerms


class CrossBlock:
    """The cross features of the requests at hand, computed once for all the models that score them.

    Args:
        log: the prepared log that the requests come from.
        only: cross features that any of the models reads; the others stay 0.
    """

    def __init__(self, log: PreparedDataset, only: Collection[str]) -> None:
        self.log, self.only = log, only
        self._of: tuple[PreparedRequests, Jagged | None] | None = None
        self._features: CrossArrays | None = None

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> CrossArrays:
        """Return the cross features of the candidates, C = R * N if they are None."""
        if (
            self._features is None
            or self._of is None
            or requests is not self._of[0]
            or not _equal(candidates, self._of[1])
        ):
            self._features = self.log.cross.look_up(requests.keys(), candidates, only=self.only)
            self._of = (requests, candidates)
        return self._features


class ModelScorer:
    """An InteractRank (sharded or not); the catalogue is encoded once, each request once.

    With a sharded model all ranks must make and call it together.

    Args:
        model: in evaluation mode.
        log: the prepared log that the requests come from.
        head: position of the head that ranks.
        device: where the model is.
        chunk: items encoded, and logged candidates scored, at a time.
        cross: shared by several models; of this model's own features when left out.
    """

    def __init__(
        self,
        model: InteractRank,
        log: PreparedDataset,
        head: int,
        device: torch.device,
        chunk: int = 1 << 13,
        cross: CrossBlock | None = None,
    ) -> None:
        self.cross = cross or CrossBlock(log, model.score_head.reads)
        self.model, self.log, self.head, self.device, self.chunk = model, log, head, device, chunk
        self.items = encode_items(model, log.items, log.layout, device=device, chunk=chunk)
        score, own = model.score_head, device.type == "cpu"
        self._terms = CrossTerms.of(score, log.cross) if score.separable and own and score.reads else None
        self._sums = score.separable and (self._terms is not None or not score.reads)

    @torch.no_grad()
    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return scores of the ranking head, on the CPU.

        Args:
            requests: R of them.
            candidates: items of each request; None for all N items.

        Returns:
            [C] or [R, N] float32.
        """
        query = self.model.encode_requests(request_batch(requests).to(self.device))
        if candidates is None and self._sums:
            return self._catalogue(query, requests)
        cross = self._cross(requests, candidates)
        if candidates is None:
            shape = (len(requests), len(self.items))
            whole = CrossFeatureTensors(
                _of_requests(cross.rate, shape),
                cross.support,
                _of_requests(cross.number, shape),
                _of_requests(cross.counts, shape),
            )
            scores = self.model.score_head.catalogue(query, self.items, whole.to(self.device))
            return scores[..., self.head].cpu()
        request = torch.from_numpy(np.repeat(np.arange(len(requests)), candidates.lengths))
        item = torch.from_numpy(candidates.values.astype(np.int64))
        blocks = []
        for first in range(0, len(item), self.chunk):
            c = slice(first, first + self.chunk)
            some = CrossFeatureTensors(cross.rate[c], cross.support, cross.number[c], cross.counts[c])
            some = some.to(self.device)
            pairs = (request[c].to(self.device), item[c].to(self.device))
            scores = self.model.score_head(query, self.items, *pairs, some)
            blocks.append(scores[:, self.head].cpu())
        return torch.cat(blocks)

    def _catalogue(self, query: Tensor, requests: PreparedRequests) -> Tensor:
        """Return [R, N]: dot products, to which is added what cross features of single requests say."""
        project = self.model.score_head.project
        dot_weight = project.dot_weight().expand(project.heads)[self.head]
        scores = (query[:, self.head].float() * dot_weight) @ self.items.float().t()
        weights = torch.zeros(project.heads)
        weights[self.head] = 1.0
        if self._terms is None:
            return (scores + project.bias.expand(project.heads)[self.head]).cpu()
        for row, keys in zip(scores, requests.keys().each(), strict=True):
            self._terms.add_to(row, keys, None, weights)
        return scores

    def probabilities(self, scores: Tensor) -> Tensor | None:
        """Return the sigmoid of the scores; None without a pointwise loss, which alone makes them logits."""
        return torch.sigmoid(scores) if self.model.settings.loss.pointwise_weight else None

    def _cross(self, requests: PreparedRequests, candidates: Jagged | None) -> CrossFeatureTensors:
        """Return the columns; those of a sort that the model does not read at all are left out."""
        head = self.model.score_head
        size = len(requests) * len(self.items) if candidates is None else len(candidates.values)
        if not head.reads:
            return CrossFeatureTensors.zeros(requests=len(requests), candidates=size)
        found = self.cross(requests, candidates)
        rate, support, number, counts = (torch.from_numpy(x) for x in found)
        return CrossFeatureTensors(
            rate if head.reads_rates else rate.new_empty(size, 0),
            support if head.reads_rates else support.new_empty(len(requests), 0),
            number if head.reads_numbers else number.new_empty(size, 0),
            counts if head.reads_ratios else counts.new_empty(size, 0),
        )


def _of_requests(columns: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return [R * N, *] as [R, N, *], which may have no columns."""
    return columns.view(*shape, columns.shape[1])


def _equal(first: Jagged | None, other: Jagged | None) -> bool:
    if first is None or other is None:
        return first is other
    return np.array_equal(first.values, other.values) and np.array_equal(first.lengths, other.lengths)
