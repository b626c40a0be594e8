"""What counting alone can do, as a baseline.

Shapes: R requests, N items of the catalogue, C candidates.
"""

from __future__ import annotations

from torch import Tensor

from interactrank.cross_features import Jagged, rate_of_query
from interactrank.data.errors import DatasetError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers.popularity import with_popularity

__all__ = ["CountScorer"]


class CountScorer:
    """IQP alone: C(p, q) / C(q) before the request, by the first such feature without window and segment.

    What counting can do for queries that were asked before; a model has to beat it.

    Args:
        log: the prepared log.

    Raises:
        DatasetError: the schema has no such feature.
    """

    def __init__(self, log: PreparedDataset) -> None:
        feature = rate_of_query(log.schema)
        if feature is None:
            raise DatasetError(
                "the baseline counts needs a cross feature of kind iqp with key query, without window and "
                "segment"
            )
        self.log, self.name = log, feature.name

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return shares of the query's engagements; ties are broken by popularity in training."""
        rate = self.log.cross.look_up_one(self.name, requests.keys(), candidates)
        return with_popularity(rate, self.log.items.train_count, candidates)
