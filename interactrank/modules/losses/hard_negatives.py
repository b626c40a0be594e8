"""Hard negatives: only those that the model scores highest.

Shapes: R requests, H heads, N negatives.
"""

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive
from interactrank.modules.losses.masks import NEVER, Negatives


class HardNegativeMining(nn.Module):
    """Mask of all but the ``count`` negatives with the highest logits of each request and head.

    It belongs after :class:`AccidentalHits` in the list of masks: what is masked before does not count as a
    hard negative. Negatives with the same logit as the last one that is kept are kept, too.

    Args:
        count: negatives to keep, at least 1; with fewer in the batch all of them are kept.

    Example::

        >>> nothing = torch.zeros(1, 1, 4, dtype=torch.bool)
        >>> empty = torch.zeros(0, dtype=torch.int64)
        >>> logits = torch.tensor([[[3.0, 9.0, 5.0, 1.0]]])
        >>> batch = Negatives(logits, torch.ones(4), empty, empty, empty.bool())
        >>> HardNegativeMining(count=2)(batch, nothing).int().tolist()
        [[[1, 0, 0, 1]]]
    """

    def __init__(self, *, count: int) -> None:
        super().__init__()
        require_positive(count=count)
        self.count = count

    def forward(self, batch: Negatives, masked: Tensor) -> Tensor:
        """Mark the easy negatives.

        Args:
            batch: the negatives.
            masked: [R or 1, H or 1, N] bool, what the masks before this one leave out.

        Returns:
            [R, H, N] bool, True for a negative that is left out.
        """
        logits = torch.where(masked, NEVER, batch.logits.detach())
        if logits.shape[-1] <= self.count:
            return torch.zeros_like(logits, dtype=torch.bool)
        return logits < logits.topk(self.count, dim=-1).values[..., -1:]
