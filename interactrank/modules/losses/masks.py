"""Masks of a sampled softmax: which negatives take no part, for which request and head.

Shapes: R requests, H heads, N negatives, C candidates.
"""

from typing import NamedTuple

from torch import Tensor, nn

NEVER = -1e30  # a logit that takes no part: finite, so that a row of them has the gradient 0, not NaN


class Negatives(NamedTuple):
    """Input of a mask: the negatives of a batch, and the candidates that they are compared with.

    Attributes:
        logits: [R, H, N], scaled and corrected.
        counts: [N] rows of the batch that were merged into a negative; 0 marks an empty slot.
        candidate_request: [C] int64, request of each candidate.
        candidate_slot: [C] int64, place of its item among the negatives.
        positive: [C, H] bool.
    """

    logits: Tensor
    counts: Tensor
    candidate_request: Tensor
    candidate_slot: Tensor
    positive: Tensor


class AccidentalHits(nn.Module):
    """Mask of the items that the request itself engaged with, in any head.

    They came into the batch as a positive of this or of another request, and would be pushed away from a
    query that wants them.

    Example::

        >>> import torch
        >>> batch = Negatives(
        ...     logits=torch.zeros(2, 1, 3),
        ...     counts=torch.ones(3),
        ...     candidate_request=torch.tensor([0, 0, 1]),
        ...     candidate_slot=torch.tensor([2, 1, 2]),
        ...     positive=torch.tensor([[True], [False], [True]]),
        ... )
        >>> AccidentalHits()(batch, torch.zeros(1, 1, 3, dtype=torch.bool)).int().tolist()
        [[[0, 0, 1]], [[0, 0, 1]]]
    """

    def forward(self, batch: Negatives, masked: Tensor) -> Tensor:
        """Mark the hits.

        Args:
            batch: the negatives.
            masked: what the masks before this one leave out; not used.

        Returns:
            [R, 1, N] bool, True for a hit.
        """
        requests, _, negatives = batch.logits.shape
        place = batch.candidate_request * negatives + batch.candidate_slot
        engaged = batch.positive.any(-1).to(batch.counts.dtype)
        count = batch.counts.new_zeros(requests * negatives).index_add(0, place, engaged)
        return (count > 0).view(requests, 1, negatives)
