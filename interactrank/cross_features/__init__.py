"""Numbers of a (request, item) pair as of the request; a kind of one's own is a class that is registered."""

from interactrank.cross_features.base import (
    Category,
    CrossFeature,
    CrossFeatureError,
    Found,
    Number,
    Rate,
    Ratio,
    Term,
)
from interactrank.cross_features.bm25 import Bm25, Bm25Settings, match_of_words
from interactrank.cross_features.contract import check_feature
from interactrank.cross_features.count_store import NEVER, CountStore, EngagementCountStore
from interactrank.cross_features.engagement_rate import EngagementRate
from interactrank.cross_features.engagement_rows import engagement_rows, impression_rows
from interactrank.cross_features.engagement_settings import EngagementRateSettings, rate_of_query
from interactrank.cross_features.features import CrossArrays, CrossFeatures
from interactrank.cross_features.item_cosine import ItemCosine, ItemCosineSettings
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged, per_row
from interactrank.cross_features.lookup import FieldLookup, Lookup, StoreQuery
from interactrank.cross_features.query_cosine import QueryCosine, QueryCosineSettings
from interactrank.cross_features.registry import CrossColumns, features_of, register
from interactrank.cross_features.requests import (
    EngagementRows,
    GivenValues,
    LoggedRequests,
    RequestFacts,
    RequestKeys,
    StoreInputs,
    UserSequences,
)
from interactrank.cross_features.text import hash63
from interactrank.cross_features.text_keys import text_keys
from interactrank.cross_features.touch import Touch, TouchSettings
from interactrank.schema import CrossFeatureSettings

__all__ = [
    "NEVER",
    "Bm25",
    "Bm25Settings",
    "Category",
    "CountStore",
    "CrossArrays",
    "CrossColumns",
    "CrossFeature",
    "CrossFeatureError",
    "CrossFeatureSettings",
    "CrossFeatures",
    "EngagementCountStore",
    "EngagementRate",
    "EngagementRateSettings",
    "EngagementRows",
    "FieldLookup",
    "Found",
    "GivenValues",
    "ItemCosine",
    "ItemCosineSettings",
    "ItemFields",
    "Jagged",
    "LoggedRequests",
    "Lookup",
    "Number",
    "QueryCosine",
    "QueryCosineSettings",
    "Rate",
    "Ratio",
    "RequestFacts",
    "RequestKeys",
    "StoreInputs",
    "StoreQuery",
    "Term",
    "Touch",
    "TouchSettings",
    "UserSequences",
    "check_feature",
    "engagement_rows",
    "features_of",
    "hash63",
    "impression_rows",
    "match_of_words",
    "per_row",
    "rate_of_query",
    "register",
    "text_keys",
]

register("iqp", EngagementRate)
register("item_cosine", ItemCosine)
register("query_cosine", QueryCosine)
register("bm25", Bm25)
register("touch", Touch)
