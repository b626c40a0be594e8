"""CrossFeatures: the history (IQP) and lexical features of any candidates, as of their requests.

One code serves logged candidates, sampled negatives, the whole catalogue and, later, serving.

Shapes: R requests, C candidates, N items of the catalogue, X history and Y lexical features. "Request keys"
are the keys of all requests, one after the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.bm25 import LexicalIndex
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s, PairIndex, ranges
from interactrank.cross_features.query_cosine import query_cosine
from interactrank.schema import IqpFeature, SearchSchema

Floats = NDArray[np.float32]
MAX_DENSE_SLOTS = 1 << 24  # (request, item) places that one look-up may fill: 64 MiB


class KeySpace(NamedTuple):
    """What a history is counted by; several features (windows, averages) may share one.

    ``over`` is only set for the user's history compared by queries, which has a store of its own.
    """

    key: str
    engagement: str
    segment: str | None
    over: str | None = None

    @property
    def name(self) -> str:
        """Name in files; ``-`` is in no part of it, so different spaces have different names."""
        return "-".join(p for p in self if p)

    @property
    def store(self) -> KeySpace:
        """The space whose store it reads: both kinds of user history read the same."""
        return self._replace(key="history") if self.key == "history_query" else self


def key_space(feature: IqpFeature) -> KeySpace:
    """The history that a feature reads."""
    over = "queries" if feature.over == "queries" else None
    return KeySpace(feature.key, feature.engagement or "", feature.segment, over)


def key_spaces(schema: SearchSchema) -> list[KeySpace]:
    """The histories that a schema needs."""
    return list(dict.fromkeys(key_space(f) for f in schema.iqp))


@dataclass(frozen=True)
class RequestKeys:
    """What the cross features of R requests depend on.

    Args:
        keys: for each history, the keys of the requests.
        time: [R] int64 milliseconds: only engagements before it count.
        history_end: [R] int64 milliseconds, at most ``time``: where the user's own history ends.
        parts: for each analyzer, the hashed parts of the query's text, for the lexical features.
    """

    keys: dict[KeySpace, Jagged]
    time: Int64s
    history_end: Int64s
    parts: dict[str, Jagged]


class CrossFeatures:
    """Computes the cross features of a schema.

    Args:
        schema: names the features.
        stores: the history of each key space.
        lexical: the index of each lexical feature, by name.
        num_items: N, items of the catalogue.
    """

    def __init__(
        self,
        *,
        schema: SearchSchema,
        stores: dict[KeySpace, EngagementCountStore],
        lexical: dict[str, LexicalIndex],
        num_items: int,
    ) -> None:
        self.schema, self.stores, self.lexical, self.num_items = schema, stores, lexical, num_items

    @classmethod
    def open(cls, folder: Path, schema: SearchSchema, num_items: int) -> CrossFeatures:
        """Open the stores that ``prepare`` wrote; nothing is read until it is looked up."""
        return cls(
            schema=schema,
            stores={
                s: EngagementCountStore.open(folder / "history" / s.store.name) for s in key_spaces(schema)
            },
            lexical={f.name: LexicalIndex.open(folder / "lexical" / f.name) for f in schema.lexical},
            num_items=num_items,
        )

    def history(
        self,
        requests: RequestKeys,
        candidates: Jagged | None = None,
        *,
        only: Collection[str] | None = None,
    ) -> tuple[Floats, Floats]:
        """Rate [C, X] in 0..1 and support [R, X] of each history feature.

        The support of a cosine, which is no share of a count, is 1 where the user has a history.

        Args:
            requests: their keys and times.
            candidates: items of each request, none twice; None for all N items of the catalogue, C = R * N.
            only: features that are wanted, the others stay 0; None for all.
        """
        num_requests = len(requests.time)
        size = num_requests * self.num_items if candidates is None else len(candidates.values)
        rate = np.zeros((size, len(self.schema.iqp)), np.float32)
        support = np.zeros((num_requests, len(self.schema.iqp)), np.float32)
        asked = _CandidateIndex(candidates, num_requests, self.num_items)
        for space, store in self.stores.items():
            columns = [
                j
                for j, f in enumerate(self.schema.iqp)
                if key_space(f) == space and (only is None or f.name in only)
            ]
            if not columns:
                continue
            # What only this user did, or is compared with it, ends where the user's history ends.
            own = space.key in ("user", "history", "history_query")
            end = requests.history_end if own else requests.time
            if space.over is not None:
                (j,) = columns
                rate[:, j], support[:, j] = query_cosine(
                    store, requests.keys[space], end, candidates, self.num_items
                )
                continue
            lookup = _StoreQuery(store, requests.keys[space], end, asked)
            for j in columns:
                feature = self.schema.iqp[j]
                if feature.average == "cosine":
                    rate[:, j], support[:, j] = lookup.cosine()
                    continue
                geometric = feature.average == "geometric"
                rate[:, j], support[:, j] = lookup.average(feature.window_ms, geometric=geometric)
        return rate, support

    def match(
        self,
        requests: RequestKeys,
        candidates: Jagged | None = None,
        *,
        only: Collection[str] | None = None,
    ) -> Floats:
        """Lexical match [C, Y]: BM25 as a share of the query's whole weight; 0 where they share nothing.

        Args:
            requests, candidates, only: as of :meth:`history`.
        """
        size = len(requests.time) * self.num_items if candidates is None else len(candidates.values)
        match = np.zeros((size, len(self.schema.lexical)), np.float32)
        for j, f in enumerate(self.schema.lexical):
            if only is None or f.name in only:
                match[:, j] = self.match_one(f.name, requests.parts[f.analyzer], candidates)
        return match

    def match_one(self, name: str, parts: Jagged, candidates: Jagged | None = None) -> Floats:
        """Match [C] by the lexical feature ``name`` of requests whose text has the hashed ``parts``."""
        index = self.lexical[name]
        asked = _CandidateIndex(candidates, len(parts.lengths), self.num_items)
        key_rows = index.rows(parts.values)
        _, pairs, rows = _locate(index, key_rows, parts.lengths, asked)
        bm25 = np.bincount(rows, index.scores[pairs], int(asked.lengths.sum()))
        request = np.repeat(np.arange(len(parts.lengths)), parts.lengths)
        weight = np.bincount(request, index.weight(key_rows), len(parts.lengths))
        return (bm25 / np.repeat(np.maximum(weight, 1e-9), asked.lengths)).astype(np.float32)


class _CandidateIndex:
    """What is asked for: candidates of R requests (None for all items of the catalogue).

    Args:
        candidates: items of each request, none twice.
        num_requests: R.
        num_items: N.
    """

    def __init__(self, candidates: Jagged | None, num_requests: int, num_items: int) -> None:
        self.candidates, self.num_items = candidates, num_items
        self.places = num_requests * num_items
        self.lengths = np.full(num_requests, num_items) if candidates is None else candidates.lengths
        self.new_places = self.places  # that are yet to be filled
        self._candidate: NDArray[np.int32] | None = None

    def candidate_at(self, places: Int64s) -> Int64s:
        """Which candidate each place, request * N + item, is; -1 where it is none."""
        if self._candidate is None:  # made once for all histories
            assert self.candidates is not None
            self._candidate = np.full(self.places, -1, np.int32)
            first = np.repeat(np.arange(len(self.lengths)) * self.num_items, self.lengths)
            self._candidate[first + self.candidates.values] = np.arange(len(first), dtype=np.int32)
            self.new_places = 0
        return self._candidate[places].astype(np.int64)


class _StoreQuery:
    """The pairs of one store that the candidates of some requests meet; counted once for each window."""

    def __init__(
        self, store: EngagementCountStore, keys: Jagged, end: Int64s, asked: _CandidateIndex
    ) -> None:
        self.store, self.num_requests, self.num_items = store, len(end), asked.num_items
        self.keys, self.rows = keys.values, store.rows(keys.values)
        self.request = np.repeat(np.arange(len(end)), keys.lengths)
        self.end = end[self.request]
        self.candidate_lengths = asked.lengths
        self.size = int(self.candidate_lengths.sum())
        self.which, self.pairs, self.out = _locate(store, self.rows, keys.lengths, asked)
        self.totals = store.key_counts(self.rows, self.end)
        self.counts = store.pair_counts(self.pairs, self.end[self.which])

    def average(
        self, window: int | None, *, geometric: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rate [C], averaged over the keys of each request, and mean support [R] of those with a history."""
        totals, counts = self.totals, self.counts
        if window is not None:
            start = self.end - window
            totals = totals - self.store.key_counts(self.rows, start)
            counts = counts - self.store.pair_counts(self.pairs, start[self.which])
        seen = np.bincount(self.request, totals > 0, self.num_requests)
        support = np.bincount(self.request, totals, self.num_requests) / np.maximum(seen, 1)
        if not geometric:
            share = counts / np.maximum(totals[self.which], 1)
            seen_of = np.repeat(np.maximum(seen, 1), self.candidate_lengths)
            return np.bincount(self.out, share, self.size) / seen_of, support
        # The mean over all keys of log((C(p, key) + 1 / N) / (C(key) + 1)).
        keys = np.maximum(np.bincount(self.request, minlength=self.num_requests), 1)
        gain = np.bincount(self.out, np.log1p(counts * self.num_items), self.size)
        base = -np.bincount(self.request, np.log1p(totals), self.num_requests) / keys
        rate = np.exp(
            gain / np.repeat(keys, self.candidate_lengths) + np.repeat(base, self.candidate_lengths)
        )
        return np.where(np.repeat(seen > 0, self.candidate_lengths), rate / self.num_items, 0.0), support

    def cosine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean cosine [C] of each candidate and the request's keys, and whether there is one [R].

        The store holds the users of each pair of items, and of each item with itself.
        """
        of_key = self._users(self.store.find(self.rows, self.keys), self.end)
        # The users of an item are looked up once for all requests whose history ends at the same time.
        ends, end_of = np.unique(self.end, return_inverse=True)
        items = end_of[self.which] * self.num_items + self.store.items[self.pairs]
        distinct, place = np.unique(items, return_inverse=True)
        item = distinct % self.num_items
        of_item = self._users(self.store.find(self.store.rows(item), item), ends[distinct // self.num_items])
        cosine = self.counts / np.sqrt(np.maximum(of_key[self.which] * of_item[place], 1))
        seen = np.bincount(self.request, of_key > 0, self.num_requests)
        seen_of = np.repeat(np.maximum(seen, 1), self.candidate_lengths)
        return np.bincount(self.out, cosine, self.size) / seen_of, (seen > 0).astype(np.float64)

    def _users(self, pairs: Int64s, end: Int64s) -> Int64s:
        """Count of each pair before ``end``; 0 for pair -1."""
        counts = np.zeros(len(pairs), np.int64)
        known = np.flatnonzero(pairs >= 0)
        counts[known] = self.store.pair_counts(pairs[known], end[known])
        return counts


Located = tuple[Int64s, Int64s, Int64s]


def _locate(index: PairIndex, rows: Int64s, key_lengths: Int64s, asked: _CandidateIndex) -> Located:
    """Pairs of the index that candidates meet: (which request key, which pair, which candidate)."""
    request = np.repeat(np.arange(len(key_lengths)), key_lengths)
    candidates = asked.candidates
    if candidates is None:
        which, pairs = index.pairs_of(rows)
        return which, pairs, request[which] * asked.num_items + index.items[pairs]
    searches = int((candidates.lengths[request] * (rows >= 0)).sum())
    pairs_of_keys = index.num_pairs(rows)
    halvings = (pairs_of_keys // max(int((rows >= 0).sum()), 1)).bit_length()
    if asked.places <= MAX_DENSE_SLOTS and _cheaper_to_filter(
        pairs_of_keys, asked.new_places, searches * halvings
    ):
        return _filter(index, rows, request, asked)
    return _search(index, rows, request, candidates)


def _cheaper_to_filter(pairs: int, new_places: int, halvings: int) -> bool:
    """By what each took in a profile: 10 ns for a pair, 0.6 ns for a place, 25 ns to halve a range."""
    return pairs + new_places // 16 < halvings * 5 // 2


def _filter(index: PairIndex, rows: Int64s, request: Int64s, asked: _CandidateIndex) -> Located:
    """Go through all pairs of the keys and keep those that are asked for: cheap where most are."""
    which, pairs = index.pairs_of(rows)
    out = asked.candidate_at(request[which] * asked.num_items + index.items[pairs])
    hit = out >= 0
    return which[hit], pairs[hit], out[hit]


def _search(index: PairIndex, rows: Int64s, request: Int64s, candidates: Jagged) -> Located:
    """Search for each (key, candidate) of a request: cheap where the keys have many other items."""
    lengths = candidates.lengths[request] * (rows >= 0)
    first = np.cumsum(candidates.lengths) - candidates.lengths
    which = np.repeat(np.arange(len(rows)), lengths)
    out = ranges(first[request], lengths)
    pairs = index.find(rows[which], candidates.values[out])
    hit = pairs >= 0
    return which[hit], pairs[hit], out[hit]
