"""The kind ``iqp``: what was engaged with after a key; its share that went to the item, its rate, its count.

InteractRank, arXiv 2504.06609, section 3 (ItemQueryPerf). Shapes: R requests, C candidates, K request keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.base import Column, CrossFeature, Found, Number, Rate, Ratio, Term
from interactrank.cross_features.count_store import CountStore, EngagementCountStore
from interactrank.cross_features.engagement_rows import engagement_rows, impression_rows, rows_of_values
from interactrank.cross_features.engagement_settings import EngagementRateSettings
from interactrank.cross_features.features import field_folder
from interactrank.cross_features.jagged import Jagged, constant
from interactrank.cross_features.lookup import FieldLookup, Lookup, StoreQuery
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import (
    EngagementRows,
    LoggedRequests,
    RequestFacts,
    RequestKeys,
    StoreInputs,
)
from interactrank.cross_features.text_keys import hashed, text_keys, within_segment
from interactrank.cross_features.tile_store import TileCountStore

__all__ = ["EngagementRate"]

SHOWN = "SHOWN"  # no engagement can be called so: names are in lower case
COLUMNS: dict[str, Column] = {"share": Rate(), "rate": Ratio(), "count": Number(log_offset=1.0)}


class EngagementRate(CrossFeature[EngagementRateSettings]):
    """Engagements after a key; windows, averages and statistics of one key share their stores."""

    Settings = EngagementRateSettings
    reads_sequence = False

    @property
    def column(self) -> Column:  # type: ignore[override]  # it depends on the settings
        """A share is a rate with support, a rate a ratio of two counts, a count a number."""
        return COLUMNS[self.settings.statistic]

    @property
    def store(self) -> str:
        """The folder of engagements; ``-`` is in no part of its name."""
        return self._folder(self.settings.engagement)

    @property
    def stores(self) -> tuple[str, ...]:
        """The folder of engagements, and for a rate that of impressions."""
        return (self.store, self._folder(SHOWN)) if self.settings.statistic == "rate" else (self.store,)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The keys, which all features of one key and segment share."""
        return ("-".join(p for p in ("iqp", self.settings.key, self.settings.segment) if p),)

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        """Return hashes of the query or its parts, of the user, or one and the same key for all."""
        s = self.settings
        if s.key == "all":
            keys = constant(0, len(requests))
        elif s.key == "user":
            keys = hashed(requests.users)
        else:
            keys = requests.once(("text", s.key), lambda: text_keys(s.key, requests.queries))
        return keys if s.segment is None else within_segment(keys, requests.segments[s.segment])

    def rows_of(self, store: str, requests: LoggedRequests) -> EngagementRows:
        """Return the engagements, or the impressions, of the block under each key."""
        keys = self.keys_once(self.key_names[0], requests.facts)
        if store == self.store:
            rows = engagement_rows(requests, keys, self.settings.engagement)
        else:
            rows = impression_rows(requests, keys)
        return rows if self.settings.of is None else rows_of_values(rows, requests.fields(self.settings.of))

    def build(self, folder: Path, inputs: StoreInputs) -> None:
        """Write the counts into ``folder``, with exact times or in tiles."""
        tile = self.settings.tile_ms
        if tile is None:
            EngagementCountStore.build(folder, inputs.by_pair(), inputs.by_key())
        else:
            TileCountStore.build(folder, inputs.by_pair(), inputs.by_key(), tile)

    def open(self, folder: Path) -> CountStore:
        """Map the counts into memory."""
        kind = EngagementCountStore if self.settings.tile_ms is None else TileCountStore
        opened: CountStore = kind.open(folder)
        return opened

    def back_off(self, others: Sequence[CrossFeature[Any]]) -> EngagementRate | None:
        """Return the next wider rate: without segment, without window, of all keys, then of a field."""
        s = self.settings
        wider: list[dict[str, Any]] = []
        if s.segment is not None:
            wider.append({"key": s.key, "of": s.of, "window": s.window, "segment": None})
        if s.window is not None:
            wider.append({"key": s.key, "of": s.of, "window": None, "segment": None})
        if s.key != "all":
            wider.append({"key": "all", "of": s.of, "window": s.window, "segment": None})
            wider.append({"key": "all", "of": s.of, "window": None, "segment": None})
        rates = [f for f in others if isinstance(f, EngagementRate) and f is not self]
        for wanted in wider:
            for f in rates:
                if f.settings.engagement == s.engagement and wanted.items() <= f.settings.__dict__.items():
                    return f
        return None if s.of is not None else self._of_field(rates)

    def _of_field(self, rates: Sequence[EngagementRate]) -> EngagementRate | None:
        """Return the first rate of a field of the item over all keys."""
        of_field = (f for f in rates if f.settings.of is not None and f.settings.key == "all")
        return next((f for f in of_field if f.settings.engagement == self.settings.engagement), None)

    def look_up(self, lookup: Lookup, store: CountStore | Mapping[str, CountStore]) -> Found:
        """Return the share [C] with the mean support of the keys [R]; or the counts [C] asked for."""
        s = self.settings
        of = None if s.of is None else lookup.fields(s.of)
        inner = lookup if of is None else of.inner
        if s.statistic == "rate":
            assert isinstance(store, Mapping)
            engaged, shown = (self._count(inner, store[name]) for name in self.stores)
            return Found(_averaged(of, engaged), _averaged(of, shown))
        assert isinstance(store, CountStore)
        if s.statistic == "count":
            return Found(_averaged(of, self._count(inner, store)))
        share, support = self._share(inner, store)
        return Found(_averaged(of, share), support)

    def known_items(self, requests: RequestKeys, store: Any) -> Int64s | None:
        """Return the items that were engaged with, or shown, after a key; None for all items or fields."""
        if self.settings.of is not None or self.settings.key == "all":
            return None
        keys = requests.keys[self.key_names[0]].values
        stores = list(store.values()) if isinstance(store, Mapping) else [store]
        return np.concatenate([of.items_of(keys) for of in stores])

    def term(self) -> Term:
        """Return the statistic."""
        s = self.settings
        return Term(
            "geometric" if s.average == "geometric" else s.statistic,
            self.key_names[0],
            own=s.key == "user",
            window_ms=s.window_ms,
            field=s.of,
            everywhere=s.key == "all",
        )

    def _count(self, lookup: Lookup, store: CountStore) -> NDArray[np.float64]:
        """Return [C] what is counted of each candidate, over all keys of its request."""
        query = self._query(lookup, store)
        counts: NDArray[np.float64] = query.per_candidate(self._in_window(query, totals=False))
        return counts

    def _share(self, lookup: Lookup, store: CountStore) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        query = self._query(lookup, store)
        totals, counts = self._in_window(query, totals=True), self._in_window(query, totals=False)
        seen = query.per_request(totals > 0)
        support = query.per_request(totals) / np.maximum(seen, 1)
        mean = _geometric if self.settings.average == "geometric" else _arithmetic
        return mean(query, totals, counts, seen), support

    def _query(self, lookup: Lookup, store: CountStore) -> StoreQuery:
        # What only this user did ends with the user sequence.
        until: Literal["time", "sequence_end"] = "sequence_end" if self.settings.key == "user" else "time"
        return lookup.query(store, self.key_names[0], until)

    def _in_window(self, query: StoreQuery, *, totals: bool) -> Int64s:
        """Return the counts of keys [K], or of pairs [P], within the window."""
        window = self.settings.window_ms
        if totals:
            if window is None:
                return query.totals
            return query.totals - query.store.key_counts(query.rows, query.end - window)
        if window is None:
            return query.counts
        return query.counts - query.store.pair_counts(query.pairs, query.pair_end - window)

    def _folder(self, counted: str) -> str:
        s = self.settings
        field = None if s.of is None else f"of_{field_folder(s.of)}"
        tile = None if s.tile_ms is None else f"per_{s.resolution}"
        return "-".join(p for p in ("iqp", s.key, counted, s.segment, field, tile) if p)


def _averaged(of: FieldLookup | None, found: NDArray[np.float64]) -> NDArray[np.float64]:
    return found if of is None else of.mean(found)


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
    gain = query.per_candidate(np.log1p(counts * query.prior_items))
    base = -query.per_request(np.log1p(totals)) / keys
    rate = np.exp(gain / query.spread(keys) + query.spread(base))
    return np.where(query.spread(seen > 0), rate / query.prior_items, 0.0)
