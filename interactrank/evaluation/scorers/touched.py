"""The rule that wins on logs of people who come back: what the user touched last, first.

Shapes: N items of the catalogue, C candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interactrank.cross_features import EngagementRateSettings, Jagged, TouchSettings
from interactrank.data.errors import DatasetError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers.ctr import CtrScorer, rate_of_item
from interactrank.evaluation.scorers.popularity import with_popularity
from interactrank.schema import SearchSchema

__all__ = ["TouchedScorer", "recency_of_touch"]

ABOVE_ALL_RATES = 100.0  # a recency is -log(1 + minutes), above -20


def recency_of_touch(schema: SearchSchema) -> TouchSettings | None:
    """Return the first recency of touches of the item itself by the user; None without one."""
    found = (f for f in schema.cross_features if isinstance(f, TouchSettings))
    return next((f for f in found if f.statistic == "recency" and f.of is None and f.within == "user"), None)


class TouchedScorer:
    """Items that the user engaged with, the last one first; then all others by their rate of impressions.

    A log without such a rate ranks the others by their engagements of the past, or by popularity in training
    if that is not counted either.

    Args:
        log: the prepared log.
        head: position of the head whose label the rate is smoothed for.

    Raises:
        DatasetError: the schema has no recency of touches.
    """

    def __init__(self, log: PreparedDataset, head: int = 0) -> None:
        feature = recency_of_touch(log.schema)
        if feature is None:
            raise DatasetError("the baseline touched needs a cross feature of kind touch, statistic recency")
        self.log, self.recency = log, feature.name
        self.ctr = None if rate_of_item(log.schema) is None else CtrScorer(log, head)
        self.share = _share_of_all(log.schema)

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return 100 less log(1 + minutes) for touched items, and a number in 0..1 for all others."""
        recency = self.log.cross.look_up_one(self.recency, requests.keys(), candidates)
        others: NDArray[Any]
        if self.ctr is not None:
            others = self.ctr.rates(requests, candidates)
        elif self.share is not None:
            others = self.log.cross.look_up_one(self.share.name, requests.keys(), candidates)
        else:
            others = np.zeros(len(recency))
        scores = np.where(np.isnan(recency), others, ABOVE_ALL_RATES + recency)
        return with_popularity(scores.astype(np.float32), self.log.items.train_count, candidates)


def _share_of_all(schema: SearchSchema) -> EngagementRateSettings | None:
    found = (f for f in schema.cross_features if isinstance(f, EngagementRateSettings))
    shares = (f for f in found if f.key == "all" and f.statistic == "share" and f.of is None)
    return next(shares, None)
