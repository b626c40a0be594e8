"""Learned weighted pooling of a jagged sequence.

Shapes: R requests, L events of all requests, D embedding dim.
"""

import math

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive
from interactrank.modules.segments import (
    segment_ids,
    segment_positions,
    segment_softmax,
    weighted_segment_sum,
)


class LearnedWeightedPooling(nn.Module):
    """u_p = sum_i alpha_i e_i, a learned weight for each place counted from the most recent event.

    InteractRank, arXiv 2504.06609, section 3 (learned weighted pooling).

    Args:
        max_len: number of weights; events further back share the last one.
        normalized: alpha is a softmax over the places that are filled, so that the result is a weighted mean
            and does not grow with the length (all weights equal at the start: the mean). Otherwise alpha is
            free, and one learned scalar is added to every component, as in the reference.

    Example::

        >>> pooling = LearnedWeightedPooling(max_len=3, normalized=True)
        >>> pooling(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 0, 1])).tolist()
        [[2.0], [0.0], [5.0]]
    """

    def __init__(self, *, max_len: int, normalized: bool = False) -> None:
        super().__init__()
        require_positive(max_len=max_len)
        self.max_len, self.normalized = max_len, normalized
        start = 0.0 if normalized else 1 / math.sqrt(max_len)
        self.weight = nn.Parameter(torch.full((max_len,), start))
        self.bias = None if normalized else nn.Parameter(torch.zeros(()))

    def forward(self, events: Tensor, lengths: Tensor, ids: Tensor | None = None) -> Tensor:
        """Pool.

        Args:
            events: [L, D], request after request, the most recent event of each first.
            lengths: [R] int64.
            ids: [L] request of every event, if the caller has it.

        Returns:
            [R, D]; without events zeros (plus the scalar).
        """
        if ids is None:
            ids = segment_ids(lengths, events.shape[0])
        place = segment_positions(lengths, ids).clamp_max(self.max_len - 1)
        alpha = self.weight.index_select(0, place)
        if self.normalized:
            alpha = segment_softmax(alpha, ids, lengths.shape[0])
        pooled = weighted_segment_sum(events, alpha, lengths)
        return pooled if self.bias is None else pooled + self.bias
