"""Click-through rates as a baseline: engagements per impression of the item, smoothed.

Shapes: N items of the catalogue, C candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interactrank.cross_features import EngagementRateSettings, Jagged
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.errors import DatasetError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.columns import CROSS_COUNTS, LABELS
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers.popularity import with_popularity
from interactrank.schema import SearchSchema

__all__ = ["CtrScorer", "best_strength", "rate_of_item"]

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def rate_of_item(schema: SearchSchema) -> EngagementRateSettings | None:
    """Return the first rate of impressions of items over all keys, without window; None without one."""
    found = (f for f in schema.cross_features if isinstance(f, EngagementRateSettings))
    rates = (f for f in found if f.statistic == "rate" and f.key == "all" and f.of is None)
    return next((f for f in rates if f.window is None and f.segment is None), None)


class CtrScorer:
    """(E + s m) / (I + s): E engagements of I impressions of the item before the request.

    m is the rate of all items. s is the strength, out of 1, 3, 10, ... 300, under which the training labels
    are most likely, each given the counts before its own request. So no evaluated request chooses it.

    Args:
        log: the prepared log.
        head: position of the head whose label chooses s.

    Raises:
        DatasetError: the schema has no such rate.
    """

    def __init__(self, log: PreparedDataset, head: int = 0) -> None:
        feature = rate_of_item(log.schema)
        if feature is None:
            raise DatasetError(
                "the baseline ctr needs a cross feature of kind iqp with key all, statistic rate"
            )
        self.log, self.name = log, feature.name
        self.strength, self.mean = _fitted(log, feature.name, head)

    def rates(self, requests: PreparedRequests, candidates: Jagged | None) -> NDArray[np.float64]:
        """Return [C] smoothed rates, C = R * N for the whole catalogue."""
        engaged, shown = self.log.cross.find_one(self.name, requests.keys(), candidates)
        assert shown is not None
        return np.asarray((engaged + self.strength * self.mean) / (shown + self.strength))

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return smoothed rates; ties are broken by popularity in training."""
        rates = self.rates(requests, candidates).astype(np.float32)
        return with_popularity(rates, self.log.items.train_count, candidates)


def _fitted(log: PreparedDataset, name: str, head: int) -> tuple[float, float]:
    """Return the strength and the mean rate by which the training labels are most likely."""
    ratios = log.cross.columns.ratio_names
    table = log.read("train", [CROSS_COUNTS, LABELS])
    counts = from_arrow(table[CROSS_COUNTS]).values.reshape(-1, 2 * len(ratios)).astype(np.float64)
    labels = from_arrow(table[LABELS]).values.reshape(len(counts), -1)[:, head]
    engaged, shown = counts[:, ratios.index(name)], counts[:, len(ratios) + ratios.index(name)]
    return best_strength(engaged, shown, labels > 0)


def best_strength(
    engaged: NDArray[np.float64], shown: NDArray[np.float64], label: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the strength and the mean rate under which labels are most likely.

    Args:
        engaged, shown: [C] counts before each label.
        label: [C] what happened.

    Example::

        >>> shown = np.full(1000, 50.0)
        >>> fixed = np.repeat([0.1, 0.5], 500)  # items differ, and 50 impressions tell which is which
        >>> labels = np.random.default_rng(0).random(1000) < fixed
        >>> best_strength(fixed * shown, shown, labels)[0]
        1.0
    """
    mean = float(np.clip(label.mean() if len(label) else 0.1, 1e-4, 1 - 1e-4))

    def log_likelihood(strength: float) -> float:
        rate = np.clip((engaged + strength * mean) / (shown + strength), 1e-6, 1 - 1e-6)
        return float(np.where(label, np.log(rate), np.log1p(-rate)).sum())

    return max(STRENGTHS, key=log_likelihood), mean
