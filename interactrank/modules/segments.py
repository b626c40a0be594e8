"""Sums, maxima and softmax over consecutive segments (the events of a user, the candidates of a request).

Everything works on the values as they lie, without padding, and nothing waits for the device: segment ids are
built with a known total, and results have one row per segment, empty ones included.

Shapes: L values, S segments.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def segment_ids(lengths: Tensor, total: int) -> Tensor:
    """Return the segment of every value.

    Args:
        lengths: [S] int64.
        total: L, the sum of the lengths.

    Returns:
        [L] int64 in 0..S-1.

    Example::

        >>> segment_ids(torch.tensor([2, 0, 1]), 3).tolist()
        [0, 0, 2]
    """
    segments = torch.arange(lengths.shape[0], device=lengths.device)
    return torch.repeat_interleave(segments, lengths, output_size=total)


def segment_positions(lengths: Tensor, ids: Tensor) -> Tensor:
    """Return the place of every value in its segment, from 0.

    Args:
        lengths: [S] int64.
        ids: [L] segment of every value.

    Returns:
        [L] int64.

    Example::

        >>> lengths = torch.tensor([2, 0, 1])
        >>> segment_positions(lengths, segment_ids(lengths, 3)).tolist()
        [0, 1, 0]
    """
    starts = lengths.cumsum(0) - lengths
    return torch.arange(ids.shape[0], device=ids.device) - starts.index_select(0, ids)


def segment_sum(values: Tensor, ids: Tensor, segments: int) -> Tensor:
    """Return the sum per segment: [L, ...] -> [S, ...]; 0 for an empty one."""
    return values.new_zeros(segments, *values.shape[1:]).index_add(0, ids, values)


def segment_logsumexp(values: Tensor, ids: Tensor, segments: int) -> Tensor:
    """Return ln sum exp per segment: [L, H] float -> [S, H]; the lowest finite number for an empty one.

    Example::

        >>> segment_logsumexp(torch.zeros(4, 1), torch.tensor([0, 0, 0, 1]), 2).exp().tolist()
        [[3.0], [1.0]]
    """
    top = _segment_max(values, ids, segments)
    total = segment_sum((values - top.index_select(0, ids)).exp(), ids, segments)
    empty = total == 0
    return torch.where(empty, torch.finfo(values.dtype).min, torch.where(empty, 1, total).log() + top)


def segment_softmax(values: Tensor, ids: Tensor, segments: int) -> Tensor:
    """Return the softmax within each segment: [L, H] -> [L, H].

    Example::

        >>> segment_softmax(torch.zeros(3, 1), torch.tensor([0, 0, 1]), 2).tolist()
        [[0.5], [0.5], [1.0]]
    """
    exp = (values - _segment_max(values, ids, segments).index_select(0, ids)).exp()
    return exp / segment_sum(exp, ids, segments).index_select(0, ids)


def weighted_segment_sum(values: Tensor, weights: Tensor, lengths: Tensor) -> Tensor:
    """Return the sum of weights times rows per segment, fused: the products are never stored.

    Args:
        values: [L, D].
        weights: [L].
        lengths: [S] int64.

    Returns:
        [S, D]; zeros for an empty segment.

    Example::

        >>> rows, weights = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1.0, 0.5, 2.0])
        >>> weighted_segment_sum(rows, weights, torch.tensor([2, 0, 1])).tolist()
        [[2.0], [0.0], [8.0]]
    """
    rows = torch.arange(values.shape[0], device=values.device)
    starts = lengths.cumsum(0) - lengths
    return F.embedding_bag(rows, values, starts, mode="sum", per_sample_weights=weights.to(values.dtype))


def _segment_max(values: Tensor, ids: Tensor, segments: int) -> Tensor:
    lowest = values.new_full((segments, *values.shape[1:]), torch.finfo(values.dtype).min)
    index = ids.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    return lowest.scatter_reduce(0, index, values.detach(), "amax")
