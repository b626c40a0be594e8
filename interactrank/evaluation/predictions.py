"""Predicted probabilities of logged candidates with their labels, gathered over blocks and ranks.

Shapes: C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.gather import gather_frame
from interactrank.evaluation.metric_frame import concatenate_frames

__all__ = ["Predictions", "gather_predictions"]


@dataclass(frozen=True)
class Predictions:
    """What a model expected of C shown candidates, and what happened.

    Attributes:
        request: [C] int64, the request of each candidate (row of the split), non-decreasing.
        probability: [C] float64 in [0, 1].
        label: [C] bool.
    """

    request: NDArray[np.int64]
    probability: NDArray[np.float64]
    label: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.request)


def gather_predictions(blocks: Sequence[Predictions]) -> Predictions:
    """Put the blocks of all ranks together, in the order of the requests.

    Args:
        blocks: those of this rank, at least one; a block holds all candidates of its requests.

    Returns:
        The predictions of all ranks, the same on every rank.

    Example::

        >>> late = Predictions(np.array([7]), np.array([0.25]), np.array([True]))
        >>> early = Predictions(np.array([3, 3]), np.array([0.5, 1.0]), np.array([False, True]))
        >>> gather_predictions([late, early]).probability
        array([0.5 , 1.  , 0.25])
    """
    frames = []
    for block in blocks:
        place = np.arange(len(block)) - np.searchsorted(block.request, block.request)
        frames.append(
            {
                "candidate": (block.request << 32) + place,
                "request": block.request,
                "probability": block.probability,
                "label": block.label,
            }
        )
    whole = gather_frame(concatenate_frames(frames), key="candidate")
    return Predictions(whole["request"], whole["probability"], whole["label"])
