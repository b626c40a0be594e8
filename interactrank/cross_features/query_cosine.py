"""How alike the candidates and the items of a user's history are in the queries that led to them.

Shapes: R requests, C candidates, N items of the catalogue.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s, ranges

Floats64 = NDArray[np.float64]
MAX_PAIRS = 1 << 22  # (candidate, query) pairs in memory at a time, about


class _Profiles(NamedTuple):
    """Unit vectors over queries: entry n says that row ``row[n]`` has ``weight[n]`` at ``query[n]``."""

    row: Int64s
    query: Int64s
    weight: Floats64


def query_cosine(
    store: EngagementCountStore, keys: Jagged, end: Int64s, candidates: Jagged | None, num_items: int
) -> tuple[Floats64, Floats64]:
    """Mean cosine [C] of each candidate and the items of the request's history, and whether there is one [R].

    The vector of an item is C(item, query) over all queries, counted before the request's ``end``.

    Args:
        store: its keys are items, its items are queries.
        keys: distinct items of each request's history.
        end: [R] milliseconds.
        candidates: items of each request; None for all N items of the catalogue, C = R * N.
        num_items: N.
    """
    lengths = np.full(len(end), num_items) if candidates is None else np.asarray(candidates.lengths)
    starts, key_starts = np.cumsum(lengths) - lengths, np.cumsum(keys.lengths) - keys.lengths
    rate, support = np.zeros(int(lengths.sum())), np.zeros(len(end))
    queries_of_item = len(store.items) / max(len(store.keys), 1)
    group = np.cumsum(lengths * queries_of_item) // MAX_PAIRS
    for requests in np.split(np.arange(len(end)), np.flatnonzero(np.diff(group)) + 1):
        own = ranges(key_starts[requests], keys.lengths[requests])
        vectors, seen = _history_vectors(
            store, Jagged(keys.values[own], keys.lengths[requests]), end[requests]
        )
        support[requests] = seen
        known = requests[seen]
        at = ranges(starts[known], lengths[known])
        if len(at):
            items = (
                at - np.repeat(starts[known], lengths[known]) if candidates is None else candidates.values[at]
            )
            request = np.repeat(np.flatnonzero(seen), lengths[known])
            rate[at] = _dots(store, vectors, request, items.astype(np.int64), end[requests], num_items)
    return rate, support


def _history_vectors(
    store: EngagementCountStore, keys: Jagged, end: Int64s
) -> tuple[_Profiles, NDArray[np.bool_]]:
    """The mean unit vector of each request's items, and whether any has a history."""
    request = np.repeat(np.arange(len(end)), keys.lengths)
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
