"""The truth of a simulated log, which no ranker can beat.

Shapes: C candidates.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.cross_features.jagged import Jagged
from interactrank.data.errors import DatasetError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset

__all__ = ["TrueProbabilityScorer"]


class TrueProbabilityScorer:
    """The chance of an engagement that a simulated log states: no ranker can do better.

    Args:
        log: the prepared log.

    Raises:
        DatasetError: the schema names no column with it.
    """

    def __init__(self, log: PreparedDataset) -> None:
        if log.schema.events.true_probability is None:
            raise DatasetError("only a simulated log has events.true_probability")

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return the logged candidates' probabilities."""
        if candidates is None:
            raise DatasetError("true_probability is known for the logged candidates only")
        values: NDArray[np.float32] = requests.jagged("true_probability").values
        return torch.from_numpy(np.array(values, np.float32))

    def probabilities(self, scores: Tensor) -> Tensor | None:
        """Return the scores: they are probabilities."""
        return scores
