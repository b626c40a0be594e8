"""The kind ``query_cosine``: how alike a candidate and the user sequence are in the queries that led to them.

Shapes: R requests, C candidates, N items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.base import CrossFeature, Found, Rate
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.item_cosine import COSINE_PRIOR, CosineSettings, sequence_items
from interactrank.cross_features.jagged import Jagged, row_of_each, starts
from interactrank.cross_features.lookup import Lookup
from interactrank.cross_features.pair_index import Int64s, ranges
from interactrank.cross_features.requests import EngagementRows, RequestFacts, UserSequences
from interactrank.schema import SearchSchema

__all__ = ["QueryCosine", "QueryCosineSettings"]

Floats64 = NDArray[np.float64]
MAX_PAIRS = 1 << 22  # (candidate, query) pairs in memory at a time, about


class QueryCosineSettings(CosineSettings):
    """The mean over items s of the cosine of C(p, query) and C(s, query) over all queries."""

    kind: Literal["query_cosine"] = "query_cosine"

    def schema_problems(self, schema: SearchSchema) -> list[str]:
        """Return what it needs and the schema does not have."""
        found = super().schema_problems(schema)
        if not found and schema.sequence is not None and schema.sequence.query is None:
            found.append("needs sequence.query, the query of an event")
        return found


class QueryCosine(CrossFeature[QueryCosineSettings]):
    """The cosine over queries; its support is 1 if the user sequence has an item with known queries."""

    Settings = QueryCosineSettings
    column = Rate(prior=COSINE_PRIOR)

    @property
    def store(self) -> str:
        """The same for both choices of items."""
        return "query_cosine"

    @property
    def key_names(self) -> tuple[str, ...]:
        """The items that a candidate is compared with."""
        return (f"query_cosine-{self.settings.items}",)

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        """Return the distinct items of each request's user sequence."""
        return sequence_items(self.settings, requests)

    def sequence_rows(self, sequences: UserSequences) -> Iterable[EngagementRows]:
        """Return (item, query) of each engagement: in this store the items are queries."""
        return sequences.queries()

    def look_up(self, lookup: Lookup, store: EngagementCountStore) -> Found:
        """Return the mean cosine [C] with the request's items, and whether there is one [R].

        The vector of an item is C(item, query) over all queries, counted before the user sequence ends.
        """
        keys, end = lookup.requests.keys[self.key_names[0]], lookup.until("sequence_end")
        lengths = np.asarray(lookup.index.lengths)
        first, first_key = np.cumsum(lengths) - lengths, starts(keys)
        rate, support = np.zeros(lookup.num_candidates), np.zeros(len(end))
        queries_of_item = len(store.items) / max(len(store.keys), 1)
        group = np.cumsum(lengths * queries_of_item) // MAX_PAIRS
        for requests in np.split(np.arange(len(end)), np.flatnonzero(np.diff(group)) + 1):
            own = ranges(first_key[requests], keys.lengths[requests])
            vectors, seen = _sequence_vectors(
                store, Jagged(keys.values[own], keys.lengths[requests]), end[requests]
            )
            support[requests] = seen
            known = requests[seen]
            at = ranges(first[known], lengths[known])
            if len(at):
                request = np.repeat(np.flatnonzero(seen), lengths[known])
                rate[at] = _dots(store, vectors, request, lookup.item[at], end[requests], lookup.num_items)
        return Found(rate, support)


class _Profiles(NamedTuple):
    """Unit vectors over queries: entry n says that row ``row[n]`` has ``weight[n]`` at ``query[n]``."""

    row: Int64s
    query: Int64s
    weight: Floats64


def _sequence_vectors(
    store: EngagementCountStore, keys: Jagged, end: Int64s
) -> tuple[_Profiles, NDArray[np.bool_]]:
    """Return the mean unit vector of each request's items, and whether any was engaged with."""
    request = row_of_each(keys)
    each = _profiles(store, keys.values.astype(np.int64), end[request])
    known = np.bincount(request, np.bincount(each.row, minlength=len(request)) > 0, len(end))
    weight = each.weight / np.maximum(known, 1)[request[each.row]]
    return _Profiles(request[each.row], each.query, weight), known > 0


def _profiles(store: EngagementCountStore, items: Int64s, end: Int64s) -> _Profiles:
    which, pairs = store.pairs_of(store.rows(items))
    counts = store.pair_counts(pairs, end[which])
    some = np.flatnonzero(counts)
    which, counts = which[some], counts[some].astype(np.float64)
    norm = np.sqrt(np.bincount(which, counts * counts, len(items)))
    return _Profiles(which, store.items[pairs[some]].astype(np.int64), counts / norm[which])


def _dots(
    store: EngagementCountStore,
    vectors: _Profiles,
    request: Int64s,
    items: Int64s,
    end: Int64s,
    num_items: int,
) -> Floats64:
    """Dot product of each (request, item) pair's vectors."""
    queries, column = np.unique(vectors.query, return_inverse=True)
    shape = (len(end), len(queries))
    table = np.bincount(vectors.row * shape[1] + column, vectors.weight, shape[0] * shape[1]).reshape(shape)
    # An item that several requests with one end rank is looked up once.
    ends, end_of = np.unique(end, return_inverse=True)
    distinct, place = np.unique(end_of[request] * num_items + items, return_inverse=True)
    of_item = _profiles(store, distinct % num_items, ends[distinct // num_items])
    column = np.minimum(np.searchsorted(queries, of_item.query), len(queries) - 1)
    shared = np.flatnonzero(queries[column] == of_item.query)
    column, weight = column[shared], of_item.weight[shared]
    lengths = np.bincount(of_item.row[shared], minlength=len(distinct))
    entry = ranges((np.cumsum(lengths) - lengths)[place], lengths[place])
    pair = np.repeat(np.arange(len(items)), lengths[place])
    each = weight[entry] * table[request[pair], column[entry]]
    return np.bincount(pair, each, len(items)).astype(np.float64)
