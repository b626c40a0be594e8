"""Ties of a baseline are broken by popularity, as a search engine would.

Shapes: R requests, N items of the catalogue, C candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.cross_features.jagged import Jagged

__all__ = ["with_popularity"]


def with_popularity(
    scores: NDArray[np.float32], train_count: NDArray[np.int64], candidates: Jagged | None
) -> Tensor:
    """Add less than any difference of scores, more for items that training has shown more often.

    Args:
        scores: [C], or [R * N] of the whole catalogue.
        train_count: [N] candidates of each item in training.
        candidates: items of each request; None for all N items.

    Returns:
        [C], or [R, N] of the whole catalogue, float32.
    """
    popularity = 1e-4 * train_count / (train_count.max() + 1)
    result: NDArray[Any]
    if candidates is None:
        result = scores.reshape(-1, len(train_count)) + popularity
    else:
        result = scores + popularity[candidates.values]
    return torch.from_numpy(result.astype(np.float32))
