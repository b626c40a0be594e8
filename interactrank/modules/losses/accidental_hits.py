"""Negatives that are none: the positive item itself, and items that the same request engaged with.

Shapes: S positives, R requests, C candidates, N negatives.
"""

import torch
from torch import Tensor


def hits_by_item(positive_ids: Tensor, negative_ids: Tensor) -> Tensor:
    """Where a negative is the positive's own item.

    Args:
        positive_ids: [S] int64.
        negative_ids: [N] int64.

    Returns:
        [S, N] bool.

    Example::

        >>> hits_by_item(torch.tensor([5]), torch.tensor([4, 5])).tolist()
        [[False, True]]
    """
    return positive_ids.unsqueeze(1) == negative_ids


def hits_by_request(
    candidate_request: Tensor, candidate_slot: Tensor, engaged: Tensor, *, requests: int, negatives: int
) -> Tensor:
    """Where a negative is an item that the request engaged with, in any head.

    Args:
        candidate_request: [C] int64, request of each candidate.
        candidate_slot: [C] int64, place of its item among the negatives.
        engaged: [C] bool.
        requests: R.
        negatives: N.

    Returns:
        [R, N] bool.

    Example::

        >>> request, slot = torch.tensor([0, 0, 1]), torch.tensor([2, 1, 2])
        >>> engaged = torch.tensor([True, False, True])
        >>> hits_by_request(request, slot, engaged, requests=2, negatives=3).int().tolist()
        [[0, 0, 1], [0, 0, 1]]
    """
    place = candidate_request * negatives + candidate_slot
    count = torch.zeros(requests * negatives, device=engaged.device)
    return (count.index_add(0, place, engaged.float()) > 0).view(requests, negatives)
