"""The kind ``iqp``: of what was engaged with after a key, the share that went to the item.

InteractRank, arXiv 2504.06609, section 3 (ItemQueryPerf). Shapes: R requests, C candidates, K request keys.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from interactrank.core.settings import Name, near
from interactrank.cross_features.base import CrossFeature, Found, Rate
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.engagement_rows import engagement_rows
from interactrank.cross_features.jagged import Jagged, constant, per_row
from interactrank.cross_features.lookup import Lookup, StoreQuery
from interactrank.cross_features.requests import EngagementRows, LoggedRequests, RequestFacts
from interactrank.cross_features.text import hash63
from interactrank.cross_features.text_keys import text_keys, within_segment
from interactrank.schema import CrossFeatureSettings, SearchSchema, parse_duration

__all__ = ["EngagementRate", "EngagementRateSettings", "rate_of_query"]


class EngagementRateSettings(CrossFeatureSettings):
    """IQP_p(key) = C(p, key) / C(key): of the engagements after a key, the share that went to item p.

    Keys: ``query`` (the paper's), back-offs ``words``, ``trigrams`` and ``compact`` (the query without
    blanks), ``user``, and ``all`` (popularity). A request with several keys averages over them:
    ``arithmetic`` averages the shares of the keys that have engagements; ``geometric`` averages over all keys
    the logarithm of (C(p, key) + 1 / N) / (C(key) + 1), N items, so that an item must go well with every
    word.
    """

    kind: Literal["iqp"] = "iqp"
    key: Literal["query", "compact", "words", "trigrams", "user", "all"] = "query"
    engagement: Name = Field(description="an engagement, or a head: what its label counts")
    window: str | None = Field(None, description="such as 90d; without it all of the past")
    segment: Name | None = Field(
        None, description="a column of segments: count within the user's own segment"
    )
    average: Literal["arithmetic", "geometric"] = "arithmetic"

    @property
    def name(self) -> str:
        """Such as ``query_click_90d_country``."""
        parts = [self.key, self.engagement, self.window, self.segment]
        if self.average == "geometric":
            parts.append("geometric")
        return "_".join(p for p in parts if p)

    @property
    def window_ms(self) -> int | None:
        """Length of the window in milliseconds; None for all of the past."""
        return None if self.window is None else parse_duration(self.window)

    def problems(self) -> list[str]:
        """Return what is wrong: the window must be a duration, and only several keys can be averaged."""
        found = []
        try:
            _ = self.window_ms
        except ValueError as error:
            found.append(f"window: {error}")
        if self.average == "geometric" and self.key not in ("words", "trigrams"):
            found.append(f"average: geometric needs a key with several values, not '{self.key}'")
        return found

    def schema_problems(self, schema: SearchSchema) -> list[str]:
        """Return what it names and the schema does not have."""
        found = []
        counted = list(dict.fromkeys([*schema.events.engagements, *schema.head_names]))
        if self.engagement not in counted:
            found.append(f"no engagement '{self.engagement}'{near(self.engagement, counted)}")
        if self.segment is not None and self.segment not in schema.segments:
            found.append(f"no segment '{self.segment}'{near(self.segment, schema.segments)}")
        if self.key == "user" and schema.events.user is None:
            found.append("key user needs events.user")
        return found


def rate_of_query(schema: SearchSchema) -> EngagementRateSettings | None:
    """Return the first C(p, q) / C(q) of a schema, which ranks alone as a baseline; None without one."""
    found = (f for f in schema.cross_features if isinstance(f, EngagementRateSettings))
    return next((f for f in found if f.key == "query" and f.window is None and f.segment is None), None)


class EngagementRate(CrossFeature[EngagementRateSettings]):
    """The share of a key's engagements; windows and averages of one key share a store."""

    Settings = EngagementRateSettings
    column = Rate()

    @property
    def store(self) -> str:
        """A folder for each key, engagement and segment; ``-`` is in no part of its name."""
        return "-".join(
            p for p in ("iqp", self.settings.key, self.settings.engagement, self.settings.segment) if p
        )

    @property
    def key_names(self) -> tuple[str, ...]:
        """The store's own keys."""
        return (self.store,)

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        """Return hashes of the query or its parts, of the user, or one and the same key for all."""
        s = self.settings
        if s.key == "all":
            keys = constant(0, len(requests))
        elif s.key == "user":
            keys = per_row([[] if u is None else [hash63(u)] for u in requests.users])
        else:
            keys = text_keys(s.key, requests.queries)
        return keys if s.segment is None else within_segment(keys, requests.segments[s.segment])

    def rows(self, requests: LoggedRequests) -> EngagementRows:
        """Return the engagements of the block under each key."""
        return engagement_rows(
            requests, self.request_keys(self.store, requests.facts), self.settings.engagement
        )

    def look_up(self, lookup: Lookup, store: EngagementCountStore) -> Found:
        """Return the rate [C], averaged over the keys of each request, and their mean support [R]."""
        # What only this user did ends with the user sequence.
        until: Literal["time", "sequence_end"] = "sequence_end" if self.settings.key == "user" else "time"
        query = lookup.query(store, self.store, until)
        totals, counts = query.totals, query.counts
        if (window := self.settings.window_ms) is not None:
            totals = totals - store.key_counts(query.rows, query.end - window)
            counts = counts - store.pair_counts(query.pairs, query.pair_end - window)
        seen = query.per_request(totals > 0)
        support = query.per_request(totals) / np.maximum(seen, 1)
        mean = _geometric if self.settings.average == "geometric" else _arithmetic
        return Found(mean(query, totals, counts, seen), support)


def _arithmetic(query: StoreQuery, totals: NDArray, counts: NDArray, seen: NDArray) -> NDArray[np.float64]:
    """Average the shares over the keys with engagements: 3 of 4 and 0 of 2 give (3/4 + 0/2) / 2."""
    share = counts / np.maximum(totals[query.which], 1)
    mean: NDArray[np.float64] = query.per_candidate(share) / query.spread(np.maximum(seen, 1))
    return mean


def _geometric(query: StoreQuery, totals: NDArray, counts: NDArray, seen: NDArray) -> NDArray[np.float64]:
    """Average log((C(p, key) + 1 / N) / (C(key) + 1)) over all keys of a request.

    That is (sum of log(1 + N C(p, key)) - sum of log(1 + C(key))) / keys - log(N), so that pairs that never
    met, for which the first logarithm is 0, need not be there.
    """
    keys = np.maximum(query.per_request(), 1)
    gain = query.per_candidate(np.log1p(counts * query.num_items))
    base = -query.per_request(np.log1p(totals)) / keys
    rate = np.exp(gain / query.spread(keys) + query.spread(base))
    return np.where(query.spread(seen > 0), rate / query.num_items, 0.0)
