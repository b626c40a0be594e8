"""The kind ``bm25``: the match of the query's text and the item's, which needs no engagement.

Shapes: R requests, C candidates, K parts of text.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from interactrank.core.extras import require
from interactrank.cross_features.base import CrossFeature, Found, Number, Term
from interactrank.cross_features.candidate_index import locate
from interactrank.cross_features.jagged import Jagged, row_of_each
from interactrank.cross_features.lookup import Lookup
from interactrank.cross_features.pair_index import Int64s, PairIndex
from interactrank.cross_features.requests import RequestFacts, RequestKeys, StoreInputs
from interactrank.cross_features.text import ANALYZERS, hash63
from interactrank.cross_features.text_keys import text_keys
from interactrank.schema import CrossFeatureSettings, SearchSchema

__all__ = ["Bm25", "Bm25Settings", "LexicalIndex", "match_of_words"]


class Bm25Settings(CrossFeatureSettings):
    """BM25 of the query's text and the item's text, as a share of the query's whole weight."""

    kind: Literal["bm25"] = "bm25"
    columns: list[str] = Field(min_length=1, description="text columns of the items file")
    analyzer: Literal["words", "trigrams"] = "words"
    k1: float = Field(1.2, gt=0)
    b: float = Field(0.75, ge=0, le=1)

    @property
    def name(self) -> str:
        """Such as ``bm25_words_title``."""
        return "_".join(["bm25", self.analyzer, *self.columns])

    @property
    def item_columns(self) -> list[str]:
        """The text columns."""
        return self.columns


def match_of_words(schema: SearchSchema) -> Bm25Settings | None:
    """Return the first match over words of a schema, which ranks alone as a baseline; None without one."""
    found = (f for f in schema.cross_features if isinstance(f, Bm25Settings))
    return next((f for f in found if f.analyzer == "words"), None)


class Bm25(CrossFeature[Bm25Settings]):
    """The lexical match: log(match + 0.1) enters the score, so no shared word lies 2.4 below a full match."""

    Settings = Bm25Settings
    reads_sequence = False
    column = Number(log_offset=0.1)

    @property
    def store(self) -> str:
        """An index for each choice of columns and analyzer."""
        return self.name

    @property
    def key_names(self) -> tuple[str, ...]:
        """The parts of the query's text."""
        return (f"bm25-{self.settings.analyzer}",)

    def request_keys(self, name: str, requests: RequestFacts) -> Jagged:
        """Return the hashed parts of each query."""
        kind = self.settings.analyzer
        return requests.once(("text", kind), lambda: text_keys(kind, requests.queries))

    def build(self, folder: Path, inputs: StoreInputs) -> None:
        """Index the text of every item."""
        columns = [inputs.items[c] for c in self.settings.columns]
        texts = [" ".join(t for t in row if t) for row in zip(*columns, strict=True)]
        analyze = ANALYZERS[self.settings.analyzer]
        LexicalIndex.build(folder, [analyze(text) for text in texts], self.settings)

    def open(self, folder: Path) -> LexicalIndex:
        """Return the index."""
        index: LexicalIndex = LexicalIndex.open(folder)
        return index

    def look_up(self, lookup: Lookup, store: LexicalIndex) -> Found:
        """Return the match [C]: BM25 as a share of the query's whole weight; 0 if they share nothing."""
        parts = lookup.requests.keys[self.key_names[0]]
        key_rows = store.rows(parts.values)
        found = locate(store, key_rows, parts.lengths, lookup.index)
        bm25 = np.bincount(found.candidate, store.scores[found.pairs], lookup.num_candidates)
        weight = np.bincount(row_of_each(parts), store.weight(key_rows), len(parts.lengths))
        return Found((bm25 / np.repeat(np.maximum(weight, 1e-9), lookup.index.lengths)).astype(np.float32))

    def known_items(self, requests: RequestKeys, store: LexicalIndex) -> Int64s | None:
        """Return the items that share a part of the query's text."""
        return store.items_of(requests.keys[self.key_names[0]].values)

    def term(self) -> Term:
        """Return the match."""
        return Term("match", self.key_names[0])


class LexicalIndex(PairIndex):
    """The BM25 weight of every (part of text, item) that occurs; computed by ``bm25s``.

    Args:
        scores: [P] float32 BM25 weight of each pair.
        rarity: [K + 1] float32 inverse document frequency of each part; the last is that of an unknown part.
    """

    arrays: ClassVar[dict[str, str]] = {**PairIndex.arrays, "scores": "<f4", "rarity": "<f4"}

    def __init__(
        self,
        *,
        keys: Int64s,
        offsets: Int64s,
        items: NDArray[np.int32],
        scores: NDArray[np.float32],
        rarity: NDArray[np.float32],
    ):
        super().__init__(keys=keys, offsets=offsets, items=items)
        self.scores, self.rarity = scores, rarity

    def weight(self, rows: Int64s) -> NDArray[np.float32]:
        """Return [N] inverse document frequency of each key row; row -1 is a part that no item has."""
        return np.asarray(self.rarity[rows])

    @classmethod
    def build(cls, folder: Path, parts: list[list[str]], settings: Bm25Settings) -> LexicalIndex:
        """Index the parts of text of each item; ``parts[i]`` are those of item i, repetitions included."""
        bm25s = require("bm25s", extra="data")
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        known = sorted({p for ps in parts for p in ps}, key=hash63)
        if not known:  # no item has any text
            empty = cls(
                keys=np.empty(0, np.int64),
                offsets=np.zeros(1, np.int64),
                items=np.empty(0, np.int32),
                scores=np.empty(0, np.float32),
                rarity=np.ones(1, np.float32),
            )
            empty.save(folder)
            return empty
        number = {p: i for i, p in enumerate(known)}
        ranker = bm25s.BM25(method="lucene", k1=settings.k1, b=settings.b)
        ranker.index(([[number[p] for p in ps] for ps in parts], number), show_progress=False)
        columns = ranker.scores
        # One column a part of text, in our order of hashes; within it, items in no promised order.
        offsets = np.asarray(columns["indptr"], np.int64)[: len(known) + 1]
        part = np.repeat(np.arange(len(known)), np.diff(offsets))
        items = np.asarray(columns["indices"], np.int32)[: len(part)]
        order = np.lexsort((items, part))
        index = cls(
            keys=np.array([hash63(p) for p in known], np.int64),
            offsets=offsets,
            items=items[order],
            scores=np.asarray(columns["data"], np.float32)[: len(part)][order],
            rarity=_rarity(np.diff(offsets), len(parts)),
        )
        index.save(folder)
        return cls.open(folder)


def _rarity(documents: Int64s, total: int) -> NDArray[np.float32]:
    """Return [K + 1] Lucene's inverse document frequency; the last entry is of a part in no document."""
    frequency = np.append(documents, 0)
    return np.log1p((total - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
