"""What the columns of a search log mean: the one description that data, models and evaluation read."""

from interactrank.schema.duration import parse_duration
from interactrank.schema.search_schema import IqpFeature, LexicalFeature, SearchSchema
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
    "EventColumns",
    "Feature",
    "FeatureSet",
    "Head",
    "IdTable",
    "IqpFeature",
    "ItemColumns",
    "LexicalFeature",
    "SearchSchema",
    "SequenceFeature",
    "UserColumns",
    "parse_duration",
]
