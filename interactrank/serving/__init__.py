"""What a trained model becomes for serving: an export, and the pre-ranker that opens it."""

from interactrank.serving.artifact import Version
from interactrank.serving.errors import ArtifactError, RequestError
from interactrank.serving.item_embeddings import ItemEmbeddingsError, export_items, read_items
from interactrank.serving.pre_ranker import PreRanker
from interactrank.serving.ranking import Explanation, Ranking
from interactrank.serving.refresh import refresh_items

__all__ = [
    "ArtifactError",
    "Explanation",
    "ItemEmbeddingsError",
    "PreRanker",
    "Ranking",
    "RequestError",
    "Version",
    "export_items",
    "read_items",
    "refresh_items",
]
