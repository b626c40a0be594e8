"""BM25 as a baseline.

Shapes: R requests, N items of the catalogue, C candidates.
"""

from __future__ import annotations

from torch import Tensor

from interactrank.cross_features import Jagged, match_of_words
from interactrank.data.errors import DatasetError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers.popularity import with_popularity

__all__ = ["Bm25Scorer"]


class Bm25Scorer:
    """BM25 of the query and the item's text, by the first cross feature of kind bm25 over words.

    Args:
        log: the prepared log.

    Raises:
        DatasetError: the schema has no such feature.
    """

    def __init__(self, log: PreparedDataset) -> None:
        feature = match_of_words(log.schema)
        if feature is None:
            raise DatasetError(
                "the baseline bm25 needs a cross feature of kind bm25 with analyzer words in the schema"
            )
        self.log, self.name = log, feature.name

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return BM25 scores; ties are broken by popularity in training, as a search engine would."""
        items = self.log.items
        scores = self.log.cross.look_up_one(self.name, requests.keys(), candidates)
        return with_popularity(scores, items.train_count, candidates)
