"""The kind ``item_cosine``: how alike a candidate and the items of the user sequence are in who had both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from pydantic import Field

from interactrank.cross_features.base import CrossFeature, Found, Rate, Term
from interactrank.cross_features.count_store import CountStore, EngagementCountStore
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.lookup import Lookup
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import EngagementRows, RequestFacts, RequestKeys, UserSequences
from interactrank.schema import CrossFeatureSettings, SearchSchema

__all__ = ["COSINE_PRIOR", "CosineSettings", "ItemCosine", "ItemCosineSettings", "sequence_items"]

COSINE_PRIOR = 0.02  # the cosine to expect if nothing is known


class CosineSettings(CrossFeatureSettings):
    """Which items of the user sequence a candidate is compared with."""

    items: Literal["sequence", "same_query"] = Field(
        "sequence", description="all of the user sequence, or those of it that followed the same query"
    )

    @property
    def name(self) -> str:
        """Such as ``item_cosine_same_query``."""
        return f"{self.kind}_{self.items}"

    def schema_problems(self, schema: SearchSchema) -> list[str]:
        """Return what it needs and the schema does not have."""
        if schema.sequence is None:
            return ["needs the section sequence"]
        if self.items == "same_query" and schema.sequence.query is None:
            return ["items: same_query needs sequence.query, the query of an event"]
        return []


class ItemCosineSettings(CosineSettings):
    """The mean over items s of U(p, s) / sqrt(U(p) U(s)); U(p, s) users engaged with both p and s.

    A user counts once, from the first time, with the items within ``sequence.length`` places.
    """

    kind: Literal["item_cosine"] = "item_cosine"


class ItemCosine(CrossFeature[ItemCosineSettings]):
    """The cosine over users; its support is 1 if the user sequence has an item."""

    Settings = ItemCosineSettings
    column = Rate(prior=COSINE_PRIOR)

    @property
    def store(self) -> str:
        """The same for both choices of items."""
        return "item_cosine"

    @property
    def key_names(self) -> tuple[str, ...]:
        """The items that a candidate is compared with."""
        return (f"item_cosine-{self.settings.items}",)

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        """Return the distinct items of each request's user sequence."""
        return sequence_items(self.settings, requests)

    def sequence_rows(self, sequences: UserSequences) -> Iterable[EngagementRows]:
        """Return pairs of items that a user had engaged with, and each item with itself."""
        return sequences.shared()

    def look_up(self, lookup: Lookup, store: EngagementCountStore) -> Found:
        """Return the mean cosine [C] with the request's items, and whether there is one [R].

        The store holds the users U(p, s) of each pair of items, and U(s) as those of (s, s).
        """
        query = lookup.query(store, self.key_names[0], "sequence_end")
        users_of_key = _users(store, store.find(query.rows, query.key), query.end)
        # The users of an item are looked up once for all requests whose sequence ends at the same time.
        ends, end_of = np.unique(query.end, return_inverse=True)
        items = end_of[query.which] * lookup.num_items + store.items[query.pairs]
        distinct, place = np.unique(items, return_inverse=True)
        item = distinct % lookup.num_items
        users_of_item = _users(store, store.find(store.rows(item), item), ends[distinct // lookup.num_items])
        cosine = query.counts / np.sqrt(np.maximum(users_of_key[query.which] * users_of_item[place], 1))
        seen = query.per_request(users_of_key > 0)
        mean = query.per_candidate(cosine) / query.spread(np.maximum(seen, 1))
        return Found(mean, (seen > 0).astype(np.float64))

    def known_items(self, requests: RequestKeys, store: EngagementCountStore) -> Int64s | None:
        """Return the items that a user had together with one of the sequence."""
        return store.items_of(requests.keys[self.key_names[0]].values)

    def term(self) -> Term:
        """Return the mean cosine."""
        return Term("cosine", self.key_names[0], own=True)


def sequence_items(settings: CosineSettings, requests: RequestFacts) -> Jagged:
    """Return the items that the settings name, of each request."""
    return requests.sequence_items if settings.items == "sequence" else requests.same_query_items


def _users(store: CountStore, pairs: Int64s, end: Int64s) -> Int64s:
    """Count each pair before ``end``; 0 for pair -1."""
    counts = np.zeros(len(pairs), np.int64)
    known = np.flatnonzero(pairs >= 0)
    counts[known] = store.pair_counts(pairs[known], end[known])
    return counts
