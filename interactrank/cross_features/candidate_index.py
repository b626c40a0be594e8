"""CandidateIndex: which pairs of a store the candidates of some requests meet.

A slot is a (request, item) pair, request * N + item. Shapes: R requests, C candidates, N items of the
catalogue.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s, PairIndex, ranges
from interactrank.cross_features.searches import searches

__all__ = ["MAX_DENSE_SLOTS", "CandidateIndex", "Located", "locate"]

MAX_DENSE_SLOTS = 1 << 24  # slots that one look-up may fill: 64 MiB


class Located(NamedTuple):
    """Pairs of a store that candidates meet: entry n says that request key ``which[n]`` has ``pairs[n]``,
    whose item is candidate ``candidate[n]``."""

    which: Int64s
    pairs: Int64s
    candidate: Int64s


class CandidateIndex:
    """The candidates of R requests; None stands for all items of the catalogue.

    Args:
        candidates: items of each request, none twice.
        num_requests: R.
        num_items: N.
    """

    def __init__(self, candidates: Jagged | None, num_requests: int, num_items: int) -> None:
        self.candidates, self.num_items = candidates, num_items
        self.slots = num_requests * num_items
        self.lengths = np.full(num_requests, num_items) if candidates is None else candidates.lengths
        self.new_slots = self.slots  # that are yet to be filled
        self._candidate: NDArray[np.int32] | None = None

    def candidate_at(self, slots: Int64s) -> Int64s:
        """Return which candidate each slot is; -1 for a slot that is none.

        Example::

            >>> one_each = Jagged(np.array([4, 2]), np.array([1, 1]))
            >>> index = CandidateIndex(one_each, num_requests=2, num_items=5)
            >>> index.candidate_at(np.array([4, 5 + 2, 5 + 3])).tolist()
            [0, 1, -1]
        """
        return self.in_slots()[slots].astype(np.int64)

    def in_slots(self) -> NDArray[np.int32]:
        """Return [R * N] the candidate in each slot, -1 for none."""
        if self._candidate is None:  # made once for all stores
            assert self.candidates is not None
            self._candidate = np.full(self.slots, -1, np.int32)
            first = np.repeat(np.arange(len(self.lengths)) * self.num_items, self.lengths)
            self._candidate[first + self.candidates.values] = np.arange(len(first), dtype=np.int32)
            self.new_slots = 0
        return self._candidate


def locate(index: PairIndex, rows: Int64s, key_lengths: Int64s, of: CandidateIndex) -> Located:
    """Return the pairs of a store that candidates meet.

    Args:
        index: the store.
        rows: row of each request key in it; -1 for a key that it does not have.
        key_lengths: [R] keys of each request.
        of: the candidates.

    Example::

        >>> store = PairIndex(keys=np.array([7, 9]), offsets=np.array([0, 2, 3]), items=np.array([1, 4, 4]))
        >>> two = CandidateIndex(Jagged(np.array([4, 0, 4]), np.array([2, 1])), num_requests=2, num_items=5)
        >>> locate(store, store.rows(np.array([7, 9])), np.array([1, 1]), two)  # item 4 under both keys
        Located(which=array([0, 1]), pairs=array([1, 2]), candidate=array([0, 2]))
    """
    request = np.repeat(np.arange(len(key_lengths)), key_lengths)
    candidates = of.candidates
    if candidates is None:
        which, pairs = index.pairs_of(rows)
        return Located(which, pairs, request[which] * of.num_items + index.items[pairs])
    searches = int((candidates.lengths[request] * (rows >= 0)).sum())
    pairs_of_keys = index.num_pairs(rows)
    halvings = (pairs_of_keys // max(int((rows >= 0).sum()), 1)).bit_length()
    if of.slots <= MAX_DENSE_SLOTS and _cheaper_to_filter(pairs_of_keys, of.new_slots, searches * halvings):
        return _filter(index, rows, request, of)
    return _search(index, rows, request, candidates)


def _cheaper_to_filter(pairs: int, new_slots: int, halvings: int) -> bool:
    """By what each took in a profile: 10 ns for a pair, 0.6 ns for a slot, 25 ns to halve a range."""
    return pairs + new_slots // 16 < halvings * 5 // 2


def _filter(index: PairIndex, rows: Int64s, request: Int64s, of: CandidateIndex) -> Located:
    """Go through all pairs of the keys and keep those of candidates: cheap if most are."""
    compiled = searches() if index.in_arrays else None
    if compiled is not None:
        base, most = request * of.num_items, index.num_pairs(rows)
        return Located(*compiled.filter(index.offsets, index.items, rows, base, of.in_slots(), most))
    which, pairs = index.pairs_of(rows)
    candidate = of.candidate_at(request[which] * of.num_items + index.items[pairs])
    hit = candidate >= 0
    return Located(which[hit], pairs[hit], candidate[hit])


def _search(index: PairIndex, rows: Int64s, request: Int64s, candidates: Jagged) -> Located:
    """Search for each (key, candidate) of a request: cheap if the keys have many other items."""
    lengths = candidates.lengths[request] * (rows >= 0)
    first = np.cumsum(candidates.lengths) - candidates.lengths
    compiled = searches() if index.in_arrays else None
    if compiled is not None:
        own = first[request], candidates.lengths[request]
        most = int(lengths.sum())
        return Located(
            *compiled.search_pairs(index.offsets, index.items, rows, *own, candidates.values, most)
        )
    which = np.repeat(np.arange(len(rows)), lengths)
    candidate = ranges(first[request], lengths)
    pairs = index.find(rows[which], candidates.values[candidate])
    hit = pairs >= 0
    return Located(which[hit], pairs[hit], candidate[hit])
