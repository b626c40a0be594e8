"""What the columns of a search log mean: the one description that data, models and evaluation read."""

from interactrank.schema.candidate_features import CandidateFeature
from interactrank.schema.cross_features import CrossFeatureSettings
from interactrank.schema.duration import parse_duration
from interactrank.schema.search_schema import SearchSchema
from interactrank.schema.sections import (
    EventColumns,
    Feature,
    FeatureSet,
    Head,
    ItemColumns,
    SequenceFeature,
    UserColumns,
)
from interactrank.schema.tables import IdTable

__all__ = [
    "CandidateFeature",
    "CrossFeatureSettings",
    "EventColumns",
    "Feature",
    "FeatureSet",
    "Head",
    "IdTable",
    "ItemColumns",
    "SearchSchema",
    "SequenceFeature",
    "UserColumns",
    "parse_duration",
]
