"""Notes of values that were met, merged: each value once.

Shapes: N ids, U distinct ids.
"""

import torch
from torch import Tensor


def merge_notes(ids: Tensor, counts: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Merge the notes of each id.

    Args:
        ids: [N] int64.
        counts: [N] int64, look-ups.
        seen: [N] int64, step of the last one.

    Returns:
        [U] ids in ascending order, the sum of their counts, and the last of their steps.

    Example::

        >>> merge_notes(torch.tensor([7, 5, 7]), torch.tensor([1, 1, 2]), torch.tensor([3, 3, 4]))
        (tensor([5, 7]), tensor([1, 3]), tensor([3, 4]))
    """
    unique, inverse = torch.unique(ids, return_inverse=True)
    count = torch.zeros_like(unique).index_add_(0, inverse, counts)
    return unique, count, torch.zeros_like(unique).scatter_reduce_(0, inverse, seen, "amax")
