"""How long ago an event was, as an embedding.

Shapes: L events, D embedding dim.
"""

import math

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive

MILLISECONDS_PER_HOUR = 3_600_000


def hours(milliseconds: Tensor) -> Tensor:
    """Return hours, float32, of a difference in milliseconds.

    The milliseconds are int64: subtract before the conversion, not after.

    Example::

        >>> hours(torch.tensor([5_400_000])).tolist()
        [1.5]
    """
    return milliseconds.float() / MILLISECONDS_PER_HOUR


class RelativeTimeEmbedding(nn.Module):
    """An embedding for each bucket of ages; buckets grow by the factor e.

    Boundaries are 0, 1, e, e^2, ... hours; an age on a boundary belongs to the bucket below. Bucket 0 holds
    ages of 0 (and below), the last one everything above e^(buckets - 1) hours. InteractRank,
    arXiv 2504.06609, section 3 (real-time user sequence).

    Args:
        dim: D.
        buckets: number of finite powers of e; 14 reaches 50 years.

    Example::

        >>> time = RelativeTimeEmbedding(dim=8)
        >>> time.bucket(torch.tensor([0.0, 0.5, 1.0, 1.5, 1e9])).tolist()
        [0, 1, 1, 2, 15]
    """

    boundaries: Tensor

    def __init__(self, *, dim: int, buckets: int = 14) -> None:
        super().__init__()
        require_positive(dim=dim, buckets=buckets)
        self.dim = self.out_dim = dim
        boundaries = torch.tensor([0.0, *(math.exp(i) for i in range(buckets))])
        self.register_buffer("boundaries", boundaries, persistent=False)
        self.table = nn.Embedding(buckets + 2, dim)

    def bucket(self, ages: Tensor) -> Tensor:
        """Return the bucket of each age: [L] hours -> [L] int64."""
        return torch.bucketize(ages.to(self.boundaries.dtype), self.boundaries)

    def forward(self, ages: Tensor) -> Tensor:
        """Embed ages: [L] float hours -> [L, D]."""
        return self.table(self.bucket(ages))
