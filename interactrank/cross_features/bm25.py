"""BM25 match of a query and an item, for any pairs: the cross feature that needs no history."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from interactrank.core.extras import require
from interactrank.cross_features.pair_index import Int64s, PairIndex
from interactrank.cross_features.text import hash63
from interactrank.schema import LexicalFeature


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
        """[N] inverse document frequency of each key row; row -1 is a part of text that no item has."""
        return np.asarray(self.rarity[rows])

    @classmethod
    def build(cls, folder: Path, parts: list[list[str]], feature: LexicalFeature) -> LexicalIndex:
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
        ranker = bm25s.BM25(method="lucene", k1=feature.k1, b=feature.b)
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
    """[K + 1] Lucene's inverse document frequency; the last entry is of a part in no document."""
    frequency = np.append(documents, 0)
    return np.log1p((total - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
