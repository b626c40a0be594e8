"""FreshCounts: a count store of the export with what was recorded since, as one count store.

Cross features look up in it with the same functions as in the store of the export alone. Shapes: N looked-up
rows or pairs, K keys and P pairs of a part.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from interactrank.cross_features.count_store import NEVER, CountStore
from interactrank.cross_features.pair_index import Int64s, Ints
from interactrank.cross_features.tile_store import TileCountStore
from interactrank.serving.fresh.runs import Runs

__all__ = ["FreshCounts"]


class FreshCounts(CountStore):
    """The parts are the base, then the runs. A key has the number that it has in the first part that knows
    it, behind the numbers of the parts before; so has a pair. What the base knows keeps its number.

    It never changes, so that threads share it; a store with more rows is another object.

    Args:
        base: of the export, with exact times or in tiles; a tile counts when it is over, also here.
        runs: what was recorded since.

    Example::

        >>> from interactrank.cross_features.requests import EngagementRows
        >>> from interactrank.serving.fresh.runs import count_run
        >>> base, run = (count_run(EngagementRows(*np.array([[7], [item], [10]]))) for item in (1, 2))
        >>> both = FreshCounts(base, (run,))
        >>> both.key_counts(both.rows(np.array([7, 8])), before=np.array([11, 11])).tolist()
        [2, 0]
        >>> both.items_of(np.array([7])).tolist()
        [1, 2]
    """

    in_arrays: ClassVar[bool] = False

    def __init__(self, base: CountStore, runs: Runs) -> None:
        self.base, self.runs = base, runs
        self.parts: tuple[Any, ...] = (base, *runs)
        self._first_row = np.cumsum([0, *(len(part.keys) for part in self.parts)])
        self._first_pair = np.cumsum([0, *(len(part.items) for part in self.parts)])
        self.keys = base.keys
        self.items: Any = _Items(self)
        self._tile = int(base.tile_ms[0]) if isinstance(base, TileCountStore) else None

    def for_keys(self, keys: Ints) -> CountStore:
        """Return the base if no run has one of the keys."""
        return self if any((run.rows(keys) >= 0).any() for run in self.runs) else self.base

    def rows(self, keys: Ints) -> Int64s:
        """Return [N] the number of each key, -1 for one that no part has."""
        keys = np.asarray(keys)
        found = np.asarray(self.base.rows(keys)).copy()
        for n, run in enumerate(self.runs, 1):
            missing = np.flatnonzero(found < 0)
            own = run.rows(keys[missing])
            hit = own >= 0
            found[missing[hit]] = self._first_row[n] + own[hit]
        return found

    def find(self, rows: Int64s, items: Ints) -> Int64s:
        """Return [N] the number of each (key row, item) pair, -1 where there is none."""
        distinct, place = np.unique(rows, return_inverse=True)
        found = np.full(len(rows), -1)
        for n, (part, own) in enumerate(zip(self.parts, self._own_rows(distinct), strict=True)):
            rest = np.flatnonzero((found < 0) & (own >= 0)[place])
            at = part.find(own[place[rest]], np.asarray(items)[rest])
            hit = at >= 0
            found[rest[hit]] = self._first_pair[n] + at[hit]
        return found

    def num_pairs(self, rows: Int64s) -> int:
        """Return how many pairs the key rows have together; one that several parts know counts in each."""
        own = self._own_rows(rows)
        return sum(part.num_pairs(of) for part, of in zip(self.parts, own, strict=True))

    def pairs_of(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """Return all pairs of the key rows: (which of the given rows, number of the pair), both ascending."""
        own = self._own_rows(rows)
        whiches, pairs = [], []
        for n, part in enumerate(self.parts):
            which, at = part.pairs_of(own[n])
            new = np.ones(len(at), bool)
            for m in range(n if len(at) else 0):  # it has the number of the first part that knows it
                new[new] = self.parts[m].find(own[m][which[new]], part.items[at[new]]) < 0
            whiches.append(which[new])
            pairs.append(self._first_pair[n] + at[new])
        which = np.concatenate(whiches)
        order = np.argsort(which, kind="stable")
        return which[order], np.concatenate(pairs)[order]

    def items_of(self, keys: Ints) -> Int64s:
        """Return the items of all pairs of the keys, one key after the other."""
        return np.asarray(self.items[self.pairs_of(self.rows(keys))[1]], np.int64)

    def key_counts(self, rows: Int64s, before: Int64s) -> Int64s:
        """Return [N] the count of each key row with ``time < before``; 0 for row -1."""
        own = self._own_rows(rows)
        found = np.array(self.base.key_counts(own[0], before), np.int64)
        for run, of in zip(self.runs, own[1:], strict=True):
            found += run.key_counts(of, self._before(before))
        return found

    def pair_counts(self, pairs: Int64s, before: Int64s) -> Int64s:
        """Return [N] the count of each pair with ``time < before``."""
        found = np.zeros(len(pairs), np.int64)
        for n, own in enumerate(self._own_pairs(pairs)):
            known = np.flatnonzero(own >= 0)
            end = before[known] if n == 0 else self._before(before[known])
            found[known] += self.parts[n].pair_counts(own[known], end)
        return found

    def first_times(self, pairs: Int64s) -> Int64s:
        """Return [N] milliseconds of each pair's first engagement."""
        found = np.full(len(pairs), np.iinfo(np.int64).max)
        for part, own in zip(self.parts, self._own_pairs(pairs), strict=True):
            known = np.flatnonzero(own >= 0)
            found[known] = np.minimum(found[known], part.first_times(own[known]))
        return found

    def last_times(self, pairs: Int64s, before: Int64s) -> Int64s:
        """Return [N] milliseconds of each pair's last engagement with ``time < before``, or ``NEVER``."""
        found = np.full(len(pairs), NEVER)
        for part, own in zip(self.parts, self._own_pairs(pairs), strict=True):
            known = np.flatnonzero(own >= 0)
            found[known] = np.maximum(found[known], part.last_times(own[known], before[known]))
        return found

    def _before(self, before: Int64s) -> Int64s:
        """Return the end for exact times: with tiles, where the last tile that is over ends."""
        return before if self._tile is None else before // self._tile * self._tile

    def _own_rows(self, rows: Int64s) -> list[Int64s]:
        """Return for each part [N] its own row of each key row, or -1."""
        part = np.searchsorted(self._first_row, rows, "right") - 1  # -1 for row -1
        key, own = np.zeros(len(rows), np.int64), []
        for n, of in enumerate(self.parts):
            found = np.full(len(rows), -1)
            here = np.flatnonzero(part == n)
            found[here] = rows[here] - self._first_row[n]
            earlier = np.flatnonzero((part < n) & (part >= 0))
            if len(earlier):
                found[earlier] = of.rows(key[earlier])
            key[here] = of.keys[found[here]]
            own.append(found)
        return own

    def _own_pairs(self, pairs: Int64s) -> list[Int64s]:
        """Return for each part [N] its own number of each pair, or -1."""
        part = np.searchsorted(self._first_pair, pairs, "right") - 1
        key, item = np.zeros(len(pairs), np.int64), np.zeros(len(pairs), np.int64)
        own = []
        for n, of in enumerate(self.parts):
            found = np.full(len(pairs), -1)
            here = np.flatnonzero(part == n)
            at = pairs[here] - self._first_pair[n]
            found[here] = at
            earlier = np.flatnonzero(part < n)
            if len(earlier):
                found[earlier] = of.find(of.rows(key[earlier]), item[earlier])
            key[here] = of.keys[np.searchsorted(of.offsets, at, "right") - 1]
            item[here] = of.items[at]
            own.append(found)
        return own


class _Items:
    """The item of each pair, by its number."""

    def __init__(self, of: FreshCounts) -> None:
        self.of = of

    def __len__(self) -> int:
        return int(self.of._first_pair[-1])

    def __getitem__(self, pairs: Int64s) -> Int64s:
        pairs = np.asarray(pairs)
        found = np.empty(len(pairs), np.int64)
        part = np.searchsorted(self.of._first_pair, pairs, "right") - 1
        for n in np.unique(part).tolist():
            here = part == n
            found[here] = self.of.parts[n].items[pairs[here] - self.of._first_pair[n]]
        return found
