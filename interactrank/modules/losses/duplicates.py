"""Merging rows of the same item.

Shapes: N rows, D embedding dim.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Merged(NamedTuple):
    """Distinct items first, in ascending order of their id; the slots after them are empty.

    Attributes:
        ids: [N] int64; in an empty slot the last id again.
        vectors: [N, D]; zeros in an empty slot.
        counts: [N] rows of the item; 0 marks an empty slot.
        slot: [N] slot of each input row.
    """

    ids: Tensor
    vectors: Tensor
    counts: Tensor
    slot: Tensor


def merge_duplicates(ids: Tensor, vectors: Tensor) -> Merged:
    """Average the rows of each item (not scaled back to length 1).

    An item that occurs twice must not be drawn as a negative twice. The result has as many slots as there
    were rows, so its shape does not depend on the data and the device is not waited for.

    Args:
        ids: [N] int64.
        vectors: [N, D].

    Returns:
        The distinct items.

    Example::

        >>> merged = merge_duplicates(torch.tensor([7, 3, 7]), torch.tensor([[1.0], [5.0], [3.0]]))
        >>> merged.ids.tolist(), merged.vectors.tolist(), merged.counts.tolist(), merged.slot.tolist()
        ([3, 7, 7], [[5.0], [2.0], [0.0]], [1.0, 2.0, 0.0], [1, 0, 1])
    """
    order = torch.argsort(ids, stable=True)
    ordered = ids.index_select(0, order)
    starts = torch.ones_like(ordered)
    starts[1:] = (ordered[1:] != ordered[:-1]).long()
    slot = torch.empty_like(order).scatter_(0, order, starts.cumsum(0) - 1)
    sums = torch.zeros_like(vectors).index_add(0, slot, vectors)
    counts = vectors.new_zeros(ids.shape[0]).index_add(0, slot, vectors.new_ones(ids.shape[0]))
    distinct = ordered[-1:].expand_as(ids).clone().scatter_(0, slot, ids)
    return Merged(distinct, sums / counts.clamp_min(1).unsqueeze(-1), counts, slot)
