"""CrossFeatures: the history (IQP) and lexical features of any candidates, as of their requests.

One code serves logged candidates, sampled negatives, the whole catalogue and, later, serving.

Shapes: R requests, C candidates, N items of the catalogue, X history and Y lexical features. "Request keys"
are the keys of all requests, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.iqp.index import Int64s, PairIndex, ranges
from interactrank.iqp.lexical import LexicalIndex
from interactrank.iqp.store import HistoryStore
from interactrank.schema import IqpFeature, SearchSchema

Floats = NDArray[np.float32]
ALWAYS = np.iinfo(np.int64).min
SMOOTHING = 1.0  # engagements that a geometric average adds to every key, spread by the items' overall share


class Jagged(NamedTuple):
    """Values of all rows, one row after the other, and how many each row has."""

    values: NDArray[Any]
    lengths: Int64s


class KeySpace(NamedTuple):
    """What a history is counted by; several features (windows, averages) may share one."""

    key: str
    engagement: str
    segment: str | None

    @property
    def name(self) -> str:
        """Folder of the store."""
        return "_".join(p for p in self if p)


def key_space(feature: IqpFeature) -> KeySpace:
    """The history that a feature reads."""
    return KeySpace(feature.key, feature.engagement, feature.segment)


def key_spaces(schema: SearchSchema) -> list[KeySpace]:
    """The histories that a schema needs; a geometric average also reads the overall share (key ``all``)."""
    spaces = dict.fromkeys(key_space(f) for f in schema.iqp)
    for f in schema.iqp:
        if f.average == "geometric":
            spaces[KeySpace("all", f.engagement, None)] = None
    return list(spaces)


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
        stores: dict[KeySpace, HistoryStore],
        lexical: dict[str, LexicalIndex],
        num_items: int,
    ) -> None:
        self.schema, self.stores, self.lexical, self.num_items = schema, stores, lexical, num_items

    @classmethod
    def open(cls, folder: Path, schema: SearchSchema, num_items: int) -> CrossFeatures:
        """Open the stores that ``prepare`` wrote; nothing is read until it is looked up."""
        return cls(
            schema=schema,
            stores={s: HistoryStore.open(folder / "history" / s.name) for s in key_spaces(schema)},
            lexical={f.name: LexicalIndex.open(folder / "lexical" / f.name) for f in schema.lexical},
            num_items=num_items,
        )

    def history(self, requests: RequestKeys, candidates: Jagged | None = None) -> tuple[Floats, Floats]:
        """Rate [C, X] in 0..1 and support [R, X] of each history feature.

        Args:
            requests: their keys and times.
            candidates: items of each request; None for all N items of the catalogue, C = R * N.
        """
        num_requests = len(requests.time)
        size = num_requests * self.num_items if candidates is None else len(candidates.values)
        rate = np.zeros((size, len(self.schema.iqp)), np.float32)
        support = np.zeros((num_requests, len(self.schema.iqp)), np.float32)
        for space, store in self.stores.items():
            columns = [j for j, f in enumerate(self.schema.iqp) if key_space(f) == space]
            if not columns:
                continue
            end = requests.history_end if space.key == "user" else requests.time
            lookup = _Lookup(store, requests.keys[space], end, candidates, self.num_items)
            for j in columns:
                feature = self.schema.iqp[j]
                prior = None
                if feature.average == "geometric":
                    prior = self._overall_share(feature, requests, candidates)
                rate[:, j], support[:, j] = lookup.average(feature.window_ms, prior)
        return rate, support

    def match(self, requests: RequestKeys, candidates: Jagged | None = None) -> Floats:
        """Lexical match [C, Y] of each query and item; 0 where they share nothing."""
        num_requests = len(requests.time)
        size = num_requests * self.num_items if candidates is None else len(candidates.values)
        result = np.zeros((size, len(self.schema.lexical)), np.float32)
        for j, feature in enumerate(self.schema.lexical):
            index = self.lexical[feature.name]
            keys = requests.parts[feature.analyzer]
            _, pairs, rows = _locate(index, index.rows(keys.values), keys.lengths, candidates, self.num_items)
            result[:, j] = np.bincount(rows, index.scores[pairs], size)
        return result

    def _overall_share(
        self, feature: IqpFeature, requests: RequestKeys, candidates: Jagged | None
    ) -> NDArray[np.float64]:
        """[C] share of each item among all engagements so far, smoothed so that none is 0."""
        num_requests = len(requests.time)
        space = KeySpace("all", feature.engagement, None)
        everything = Jagged(np.zeros(num_requests, np.int64), np.ones(num_requests, np.int64))
        lookup = _Lookup(self.stores[space], everything, requests.time, candidates, self.num_items)
        rate, support = lookup.average(None, None)
        total = np.repeat(support, lookup.candidate_lengths).astype(np.float64)
        return (rate * total + 1) / (total + self.num_items)


class _Lookup:
    """The pairs of one store that the candidates of some requests meet; counted once for each window."""

    def __init__(
        self, store: HistoryStore, keys: Jagged, end: Int64s, candidates: Jagged | None, num_items: int
    ) -> None:
        self.store, self.num_requests = store, len(end)
        self.rows = store.rows(keys.values)
        self.request = np.repeat(np.arange(len(end)), keys.lengths)
        self.end = end[self.request]
        self.candidate_lengths = np.full(len(end), num_items) if candidates is None else candidates.lengths
        self.size = int(self.candidate_lengths.sum())
        self.which, self.pairs, self.out = _locate(store, self.rows, keys.lengths, candidates, num_items)

    def average(
        self, window: int | None, prior: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rate [C] and support [R], averaged over the keys of each request that have a history."""
        start = self.end - window if window is not None else np.full(len(self.end), ALWAYS)
        totals = self.store.key_counts(self.rows, start, self.end)
        counts = self.store.pair_counts(self.pairs, start[self.which], self.end[self.which])
        seen = np.bincount(self.request, totals > 0, self.num_requests)
        support = np.bincount(self.request, totals, self.num_requests) / np.maximum(seen, 1)
        seen_of = np.repeat(np.maximum(seen, 1), self.candidate_lengths)
        if prior is None:
            share = counts / np.maximum(totals[self.which], 1)
            return np.bincount(self.out, share, self.size) / seen_of, support
        # Geometric: the mean over keys of log((C(p, key) + s * prior) / (C(key) + s)).
        hit = counts > 0
        smoothed = SMOOTHING * prior[self.out[hit]]
        gain = np.bincount(self.out[hit], np.log((counts[hit] + smoothed) / smoothed), self.size)
        base = np.bincount(
            self.request,
            np.where(totals > 0, np.log(SMOOTHING / (totals + SMOOTHING)), 0.0),
            self.num_requests,
        )
        rate = prior * np.exp((gain + np.repeat(base, self.candidate_lengths)) / seen_of)
        return np.where(np.repeat(seen > 0, self.candidate_lengths), rate, 0.0), support


def _locate(
    index: PairIndex, rows: Int64s, key_lengths: Int64s, candidates: Jagged | None, num_items: int
) -> tuple[Int64s, Int64s, Int64s]:
    """Pairs of the index that candidates meet: (which request key, which pair, which candidate)."""
    request = np.repeat(np.arange(len(key_lengths)), key_lengths)
    if candidates is None:
        which, pairs = index.pairs_of(rows)
        return which, pairs, request[which] * num_items + index.items[pairs]
    first = np.cumsum(candidates.lengths) - candidates.lengths
    lengths = candidates.lengths[request] * (rows >= 0)
    which = np.repeat(np.arange(len(rows)), lengths)
    out = ranges(first[request], lengths)
    pairs = index.find(rows[which], candidates.values[out])
    hit = pairs >= 0
    return which[hit], pairs[hit], out[hit]
