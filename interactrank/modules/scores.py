"""From the towers' vectors to dot products, and from heads to the one score that serving sorts by.

Shapes: R requests, I items, C candidates, H heads, D embedding dim.
"""

import torch
from torch import Tensor

from interactrank.modules.precision import wide

BLOCK = 1 << 16  # gathered rows that are kept at a time: memory used again costs less than fresh memory


def candidate_dots(query: Tensor, item: Tensor, candidate_request: Tensor, candidate_item: Tensor) -> Tensor:
    """Return the dot product of every candidate with each head of its request.

    InteractRank, arXiv 2504.06609, section 3 (two-tower part).

    For a single request, as in serving, it is a matrix product of the gathered items: no query is copied.

    Args:
        query: [R, H, D].
        item: [I, D].
        candidate_request: [C] int64 in 0..R-1.
        candidate_item: [C] int64 in 0..I-1.

    Returns:
        [C, H], float32; float64 if an input is.

    Example::

        >>> query, item = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[3.0, 4.0]])
        >>> candidate_dots(query, item, torch.tensor([0]), torch.tensor([0])).tolist()
        [[3.0, 4.0]]
    """
    dtype = wide(torch.promote_types(query.dtype, item.dtype))
    query, item = query.to(dtype), item.to(dtype)
    if query.shape[0] == 1:
        with torch.autocast(query.device.type, enabled=False):
            blocks = [item.index_select(0, rows) @ query[0].t() for rows in candidate_item.split(BLOCK)]
            return torch.cat(blocks)
    q = query.index_select(0, candidate_request)
    return (q * item.index_select(0, candidate_item).unsqueeze(1)).sum(-1)


def mix_heads(query: Tensor, head_weights: Tensor) -> Tensor:
    """Return one query vector for serving: the heads' weighted mean, not scaled back to length 1.

    The dot product with an item is linear in the query, so the mean of the heads' dot products is the dot
    product with the mixed vector: an engine needs one lookup, not H.

    Args:
        query: [R, H, D].
        head_weights: [R, H], any numeric type, not negative; not changed. A row of zeros counts as equal
            weights.

    Returns:
        [R, D].

    Example::

        >>> mix_heads(torch.tensor([[[1.0], [5.0]]]), torch.tensor([[3, 1]])).tolist()
        [[2.0]]
    """
    weights = head_weights.to(query.dtype)
    total = weights.sum(-1, keepdim=True)
    empty = total == 0
    share = torch.where(empty, 1 / weights.shape[-1], weights / torch.where(empty, 1, total))
    return (share.unsqueeze(-1) * query).sum(-2)


def metamodel_score(probabilities: Tensor, head_weights: Tensor) -> Tensor:
    """Return the weighted sum of the heads' probabilities; the weights are used as given.

    Args:
        probabilities: [C, H] in [0, 1].
        head_weights: [H].

    Returns:
        [C].

    Example::

        >>> metamodel_score(torch.tensor([[0.5, 0.25]]), torch.tensor([1.0, 2.0])).tolist()
        [1.0]
    """
    return (probabilities * head_weights.to(probabilities.dtype)).sum(-1)
