"""BM25 as a baseline.

Shapes: R requests, N items of the catalogue, C candidates.
"""

from __future__ import annotations

from torch import Tensor

from interactrank.cross_features.jagged import Jagged
from interactrank.data.errors import DatasetError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers.popularity import with_popularity

__all__ = ["Bm25Scorer"]


class Bm25Scorer:
    """BM25 of the query and the item's text, by the first lexical feature over words.

    Args:
        log: the prepared log.

    Raises:
        DatasetError: the schema has no lexical feature over words.
    """

    def __init__(self, log: PreparedDataset) -> None:
        names = [f.name for f in log.schema.lexical if f.analyzer == "words"]
        if not names:
            raise DatasetError("the baseline bm25 needs a lexical feature with analyzer words in the schema")
        self.log, self.name = log, names[0]

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return BM25 scores; ties are broken by popularity in training, as a search engine would."""
        items = self.log.items
        scores = self.log.cross.match_one(self.name, requests.keys().parts["words"], candidates)
        return with_popularity(scores, items.train_count, candidates)
