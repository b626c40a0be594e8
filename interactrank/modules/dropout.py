"""Dropout for small rates on large tensors."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def zero_random_entries(x: Tensor, rate: float) -> Tensor:
    """Set a share ``rate`` of the entries to zero, in place where that is cheap; survivors are NOT rescaled.

    Ordinary dropout draws a random number for every entry, which at a rate of 0.5 % costs more than the
    LayerNorm before it. Here the places are drawn (with replacement, as many as make each entry's chance
    equal to ``rate``), so the cost is proportional to the entries that are dropped.

    Args:
        x: any shape; overwritten.
        rate: share to drop, in [0, 1).

    Returns:
        ``x`` with zeros.

    Example::

        >>> import torch
        >>> zero_random_entries(torch.ones(3, 2), 0.0).sum()
        tensor(6.)
    """
    if rate <= 0:
        return x
    spacing = round(-1 / math.log1p(-rate))  # numel / spacing draws: chance 1 - (1 - 1/numel)^(numel/spacing)
    if spacing < 20 or x.numel() < 20 * spacing:
        return F.dropout(x, rate) * (1 - rate)
    places = torch.randint(x.numel(), (x.numel() // spacing,), device=x.device)
    return x.view(-1).index_fill_(0, places, 0).view(x.shape)
