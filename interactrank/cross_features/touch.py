"""The kind ``touch``: what this user did with the very item before, how long ago and how often.

People come back to what they looked at: on logs of hotels, films and shops the own past touch of a candidate
says more than any count over others. Shapes: R requests, C candidates, K request keys, P pairs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from interactrank.core.settings import Name, near
from interactrank.cross_features.base import Column, CrossFeature, Found, Number, Term
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.engagement_rows import engagement_rows, rows_of_values
from interactrank.cross_features.features import field_folder
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.lookup import Lookup, StoreQuery, Until
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import EngagementRows, LoggedRequests, RequestFacts, RequestKeys
from interactrank.cross_features.text_keys import hashed
from interactrank.schema import CrossFeatureSettings, SearchSchema

__all__ = ["Touch", "TouchSettings"]

MINUTE_MS = 60_000
ANY = "ANY"  # no engagement can be called so: names are in lower case
COLUMNS: dict[str, Column] = {
    "recency": Number(may_be_unknown=True),
    "order": Number(),
    "count": Number(log_offset=1.0),
}


class TouchSettings(CrossFeatureSettings):
    """The user's own engagements with the candidate before the request.

    Statistics:

    - ``recency``: -log(1 + minutes) since the last one; unknown if there is none.
    - ``order``: 1 / (1 + how many other items were engaged with later): 1 for the last one, 1/2 for the one
      before, 0 if there is none.
    - ``count``: log(1 + how many).

    ``of`` reads the values of a column of the items file instead of the item: this brand, this city. Of
    several values the latest counts, and the mean of their counts.
    """

    kind: Literal["touch"] = "touch"
    statistic: Literal["recency", "order", "count"] = Field("recency", description="what becomes of them")
    engagement: Name | None = Field(
        None, description="an engagement, or a head: what its label counts; without it any engagement"
    )
    of: str | None = Field(None, description="a column of the items file: the same brand, not the same item")
    within: Literal["user", "session"] = Field(
        "user", description="all before the user sequence ends, or the same session before the request"
    )

    @property
    def name(self) -> str:
        """Such as ``touch_recency`` or ``touch_count_click_of_brand_session``."""
        field = None if self.of is None else f"of_{self.of}"
        session = "session" if self.within == "session" else None
        return "_".join(p for p in (self.kind, self.statistic, self.engagement, field, session) if p)

    @property
    def field_columns(self) -> list[str]:
        """The column of ``of``."""
        return [] if self.of is None else [self.of]

    def schema_problems(self, schema: SearchSchema) -> list[str]:
        """Return what it names and the schema does not have."""
        found = []
        counted = list(dict.fromkeys([*schema.events.engagements, *schema.head_names]))
        if self.engagement is not None and self.engagement not in counted:
            found.append(f"no engagement '{self.engagement}'{near(self.engagement, counted)}")
        if schema.events.user is None:
            found.append("needs events.user, the column of who searched")
        if self.within == "session" and schema.events.session is None:
            found.append("within: session needs events.session, the column of the session")
        if self.of == schema.items.id:
            found.append(f"of: '{self.of}' is the item itself; leave it out")
        return found


class Touch(CrossFeature[TouchSettings]):
    """The user's own past with a candidate; the statistics of one engagement share a store."""

    Settings = TouchSettings
    reads_sequence = False

    @property
    def column(self) -> Column:  # type: ignore[override]  # it depends on the settings
        """A number; a recency may be unknown."""
        return COLUMNS[self.settings.statistic]

    @property
    def store(self) -> str:
        """A folder for each engagement, field, and user or session."""
        s = self.settings
        field = None if s.of is None else f"of_{field_folder(s.of)}"
        return "-".join(p for p in ("touch", s.within, s.engagement or ANY, field) if p)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The user, or the session."""
        return (f"touch-{self.settings.within}",)

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        """Return a hash of the user, or of user and session; none where they are not known."""
        if self.settings.within == "user":
            return hashed(requests.users)
        both = zip(requests.users, requests.sessions, strict=True)
        return hashed([None if u is None or s is None else f"{u}\x1f{s}" for u, s in both])

    def rows(self, requests: LoggedRequests) -> EngagementRows:
        """Return the engagements of the block under each key."""
        keys = self.keys_once(self.key_names[0], requests.facts)
        rows = engagement_rows(requests, keys, self.settings.engagement or ANY)
        return rows if self.settings.of is None else rows_of_values(rows, requests.fields(self.settings.of))

    def look_up(self, lookup: Lookup, store: EngagementCountStore) -> Found:
        """Return [C] the statistic of each candidate."""
        s = self.settings
        of = None if s.of is None else lookup.fields(s.of)
        until: Until = "sequence_end" if s.within == "user" else "time"
        inner = lookup if of is None else of.inner
        query = inner.query(store, self.key_names[0], until)
        if s.statistic == "count":
            counts = query.per_candidate(query.counts)
            return Found(counts if of is None else of.mean(counts))
        pairs = _recency(inner, store, query) if s.statistic == "recency" else _order(store, query)
        never = -np.inf if s.statistic == "recency" else 0.0
        values = np.full(inner.num_candidates, never)
        values[query.candidate] = np.where(query.counts > 0, pairs, never)
        found = values if of is None else np.maximum(of.max(values), never)
        return Found(np.where(np.isneginf(found), np.nan, found))

    def known_items(self, requests: RequestKeys, store: EngagementCountStore) -> Int64s | None:
        """Return the items that the user engaged with; None for fields."""
        if self.settings.of is not None:
            return None
        return store.items_of(requests.keys[self.key_names[0]].values)

    def term(self) -> Term:
        """Return the statistic."""
        s = self.settings
        return Term(s.statistic, self.key_names[0], own=s.within == "user", field=s.of)


def _recency(lookup: Lookup, store: EngagementCountStore, query: StoreQuery) -> NDArray[np.float64]:
    """Return [P] -log(1 + minutes) from the last engagement of each pair to the request."""
    now = lookup.requests.time[query.request[query.which]]
    last = store.last_times(query.pairs, query.pair_end)
    return np.asarray(-np.log1p((now - np.where(query.counts > 0, last, now)) / MINUTE_MS))


def _order(store: EngagementCountStore, query: StoreQuery) -> NDArray[np.float64]:
    """Return [P] 1 / (1 + pairs of the key that were last engaged with later)."""
    which, pairs = store.pairs_of(query.rows)
    last = store.last_times(pairs, query.end[which])
    by_time = np.lexsort((~last, which))  # newest first; ~ does not overflow where there is none
    later = np.empty(len(pairs), np.int64)
    later[by_time] = _earlier_in_group(which[by_time], last[by_time])
    at = np.searchsorted(which * _size(pairs) + pairs, query.which * _size(pairs) + query.pairs)
    return np.asarray(1 / (1.0 + later[at]))


def _size(pairs: Int64s) -> int:
    return int(pairs.max()) + 1 if len(pairs) else 1


def _earlier_in_group(group: Int64s, value: Int64s) -> Int64s:
    """Return how many rows of the same group come before the first with the same value; both are sorted.

    Example::

        >>> _earlier_in_group(np.array([0, 0, 0, 1]), np.array([9, 7, 7, 5])).tolist()
        [0, 1, 1, 0]
    """
    position = np.arange(len(group))
    new_group = np.append(True, group[1:] != group[:-1])[: len(group)]
    new_value = new_group | np.append(True, value[1:] != value[:-1])[: len(group)]
    first_of_group = np.maximum.accumulate(np.where(new_group, position, 0))
    first_of_value = np.maximum.accumulate(np.where(new_value, position, 0))
    return first_of_value - first_of_group
