"""logQ: how likely an item is to turn up among the in-batch negatives.

Shapes: N items.
"""

import torch
from torch import Tensor, nn

from interactrank.modules.losses.count_min_sketch import CountMinSketch


def log_batch_probability(
    counts: Tensor, total: Tensor, draws: int, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return ln of the chance that an item occurs among ``draws`` independent draws: ln(1 - (1 - c/N)^draws).

    Args:
        counts: [N] int64, how often the item was drawn so far.
        total: scalar int64, all draws so far.
        draws: draws in a batch, duplicates counted, as they are in ``counts``.
        dtype: of the result.

    Returns:
        [N] in [ln 1e-16, 0].

    Example::

        >>> log_batch_probability(torch.tensor([1, 2]), torch.tensor(2), 1).exp().tolist()
        [0.5, 1.0]
    """
    share = counts.double() / total.clamp_min(1).double()
    # expm1 and log1p keep the digits of small shares that 1 - (1 - p)^m would round away.
    chance = -torch.expm1(draws * torch.log1p(-share.clamp(max=1)))
    return chance.clamp(1e-16, 1.0).to(dtype).log()


class LogQ(nn.Module):
    """Estimator of how often each item is an in-batch negative, learned from the batches themselves.

    Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations". A batch's
    items are distinct, so the chance of an item is the share of batches that held it, and that is what is
    counted; no formula about independent draws is needed.

    Args:
        sketch: the counter.

    Example::

        >>> import torch
        >>> log_q = LogQ(sketch=CountMinSketch(width=1024))
        >>> _ = log_q(torch.tensor([1, 2]), torch.tensor([True, True]))
        >>> log_q(torch.tensor([1, 3]), torch.tensor([True, True])).exp().tolist()
        [1.0, 0.5]
    """

    batches: Tensor

    def __init__(self, *, sketch: CountMinSketch | None = None) -> None:
        super().__init__()
        self.sketch = CountMinSketch() if sketch is None else sketch
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, ids: Tensor, present: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Estimate, and while training count this batch first.

        Args:
            ids: [N] int64, the items of this batch over all ranks (the same on every rank).
            present: [N] bool; False marks rows to ignore. An item must not be present twice.
            dtype: of the result.

        Returns:
            [N] ln of the chance, at most 0.
        """
        if self.training:
            with torch.no_grad():
                self.sketch.update(ids, present.long())
                self.batches += 1
        chance = self.sketch(ids).double() / self.batches.clamp_min(1).double()
        return chance.clamp(1e-16, 1.0).to(dtype).log()
