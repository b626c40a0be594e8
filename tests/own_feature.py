"""A cross feature that the package does not have, registered from outside of it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from interactrank.cross_features import (
    NEVER,
    CrossFeature,
    CrossFeatureSettings,
    EngagementCountStore,
    EngagementRows,
    Found,
    Jagged,
    LoggedRequests,
    Lookup,
    Number,
    RequestFacts,
    engagement_rows,
    hash63,
    per_row,
    register,
)


class HoursSinceSettings(CrossFeatureSettings):
    kind: Literal["hours_since"] = "hours_since"
    engagement: str = "click"
    longest: int = 10_000


class HoursSince(CrossFeature[HoursSinceSettings]):
    """Hours since the user's last engagement with the item; NaN if there is none."""

    Settings = HoursSinceSettings
    column = Number(may_be_unknown=True)

    @property
    def store(self) -> str:
        return f"hours_since-{self.settings.engagement}"

    @property
    def key_names(self) -> tuple[str, ...]:
        return (self.store,)

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        return per_row([[] if user is None else [hash63(user)] for user in requests.users])

    def rows(self, requests: LoggedRequests) -> EngagementRows:
        keys = self.request_keys(self.store, requests.facts)
        return engagement_rows(requests, keys, self.settings.engagement)

    def look_up(self, lookup: Lookup, store: EngagementCountStore) -> Found:
        query = lookup.query(store, self.store, "sequence_end")
        last = store.last_times(query.pairs, query.pair_end)
        known = last > NEVER
        hours = np.full(lookup.num_candidates, np.nan)
        hours[query.candidate[known]] = (query.pair_end[known] - last[known]) / 3_600_000
        return Found(hours)


register("hours_since", HoursSince)
