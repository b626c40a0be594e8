"""The user's recent events, jagged from end to end."""

from interactrank.modules.sequence.attention import QueryCrossAttention
from interactrank.modules.sequence.embedder import UserSequenceEmbedder
from interactrank.modules.sequence.pooling import LearnedWeightedPooling
from interactrank.modules.sequence.relative_time import RelativeTimeEmbedding, hours
from interactrank.modules.sequence.transformer import SequenceTransformer

__all__ = [
    "LearnedWeightedPooling",
    "QueryCrossAttention",
    "RelativeTimeEmbedding",
    "SequenceTransformer",
    "UserSequenceEmbedder",
    "hours",
]
