"""The k best of many scores, in an order that does not depend on chance.

Shapes: C scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interactrank.serving.kernel import kernel

__all__ = ["slow_top_k", "top_k"]


def top_k(scores: Tensor, k: int) -> Tensor:
    """Return the positions of the k highest scores, the best first; of equal ones the first.

    Args:
        scores: [C] float32; minus infinity takes a candidate out.
        k: how many at most.

    Returns:
        [min(k, finite scores)] int64.

    Example::

        >>> top_k(torch.tensor([0.5, 0.9, 0.5, 0.5]), 3).tolist()
        [1, 0, 2]
    """
    compiled = kernel()
    if compiled is not None and scores.dtype == torch.float32:
        return compiled.top_k(scores, k)
    return slow_top_k(scores, k)


def slow_top_k(scores: Tensor, k: int) -> Tensor:
    """Return what :func:`top_k` does, by PyTorch alone."""
    k = min(k, len(scores))
    if k == 0:
        return torch.empty(0, dtype=torch.int64)
    threshold = torch.topk(scores, k, sorted=False).values.amin()
    at = torch.nonzero(scores >= threshold).squeeze(
        1
    )  # in order of position; ties of the last one are all there
    order = torch.argsort(scores[at], descending=True, stable=True)[:k]
    best = at[order]
    return best[~torch.isneginf(scores[best])]
