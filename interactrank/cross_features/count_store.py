"""EngagementCountStore: every engagement by key and item: counts C(p, key) and C(key) as of any moment."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from interactrank.cross_features.pair_index import Int64s, Ints, PairIndex, search_segments
from interactrank.cross_features.searches import searches

__all__ = ["NEVER", "CountStore", "EngagementCountStore"]

NEVER = int(np.iinfo(np.int64).min)  # earlier than every moment


class CountStore(PairIndex, ABC):
    """Counts of keys and pairs as of any moment."""

    @abstractmethod
    def key_counts(self, rows: Int64s, before: Int64s) -> Int64s:
        """Return [N] the count of each key row with ``time < before``; 0 for row -1."""

    @abstractmethod
    def pair_counts(self, pairs: Int64s, before: Int64s) -> Int64s:
        """Return [N] the count of each pair with ``time < before``."""

    def for_keys(self, keys: Ints) -> CountStore:
        """Return a store that is enough for some keys; it numbers their rows and pairs as this one does."""
        return self


class EngagementCountStore(CountStore):
    """A :class:`PairIndex` whose pairs and keys also have their engagement times.

    Args:
        pair_offsets: [P + 1] int64; the engagements of pair i are ``pair_offsets[i]..pair_offsets[i + 1]``.
        pair_times: [E] int64 milliseconds, ascending within a pair.
        key_times: [E] int64 milliseconds, ascending within a key; a key's engagements lie where its pairs'
            lie.
    """

    arrays: ClassVar[dict[str, str]] = {
        **PairIndex.arrays,
        "pair_offsets": "<i8",
        "pair_times": "<i8",
        "key_times": "<i8",
    }

    def __init__(self, *, pair_offsets: Int64s, pair_times: Int64s, key_times: Int64s, **pairs: Any) -> None:
        super().__init__(**pairs)
        self.pair_offsets, self.pair_times, self.key_times = pair_offsets, pair_times, key_times

    def key_counts(self, rows: Int64s, before: Int64s) -> Int64s:
        """Return [N] engagements of each key row with ``time < before``; 0 for row -1."""
        known = np.maximum(rows, 0)
        low = np.asarray(self.pair_offsets[self.offsets[known]])
        high = np.asarray(self.pair_offsets[self.offsets[known + (rows >= 0)]])
        return search_segments(self.key_times, low, high, before) - low

    def pair_counts(self, pairs: Int64s, before: Int64s) -> Int64s:
        """Return [N] engagements of each pair with ``time < before``."""
        compiled = searches()
        if compiled is not None:
            return compiled.counts(self.pair_offsets, self.pair_times, pairs, before)
        low, high = np.asarray(self.pair_offsets[pairs]), np.asarray(self.pair_offsets[pairs + 1])
        return search_segments(self.pair_times, low, high, before) - low

    def first_times(self, pairs: Int64s) -> Int64s:
        """Return [N] milliseconds of each pair's first engagement."""
        return np.asarray(self.pair_times[self.pair_offsets[pairs]])

    def last_times(self, pairs: Int64s, before: Int64s) -> Int64s:
        """Return [N] milliseconds of each pair's last engagement with ``time < before``, or ``NEVER``."""
        count = self.pair_counts(pairs, before)
        last = np.full(len(pairs), NEVER)
        some = np.flatnonzero(count)
        last[some] = self.pair_times[self.pair_offsets[pairs[some]] + count[some] - 1]
        return last

    @classmethod
    def build(
        cls, folder: Path, by_pair: Iterable[tuple[Int64s, Ints, Int64s]], by_key: Iterable[Int64s]
    ) -> None:
        """Write a store into ``folder`` from sorted streams, with one block in memory at a time.

        Args:
            folder: created if need be.
            by_pair: blocks of (key, item, time), ordered by key, item and time.
            by_key: blocks of the times alone, ordered by key and time.
        """
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: (folder / name).open("wb") for name in cls.arrays}
        try:
            sizes = _write(files, by_pair)
            sizes["key_times"] = sum(_append(files["key_times"], block, "<i8") for block in by_key)
        finally:
            for file in files.values():
                file.close()
        if sizes["key_times"] != sizes["pair_times"]:
            raise ValueError(f"a store of {sizes['pair_times']} engagements has {sizes['key_times']} times")
        (folder / "index.json").write_text(json.dumps(sizes))

    @classmethod
    def from_events(cls, folder: Path, keys: Int64s, items: Ints, times: Int64s) -> EngagementCountStore:
        """Build and open a store from engagements in memory, in any order.

        Example::

            >>> import tempfile
            >>> key, item, time = np.array([[7, 7, 7], [1, 2, 1], [10, 20, 30]])
            >>> store = EngagementCountStore.from_events(Path(tempfile.mkdtemp()), key, item, time)
            >>> rows = store.rows(np.array([7, 7]))
            >>> store.key_counts(rows, before=np.array([20, 99])).tolist()
            [1, 3]
            >>> pairs = store.find(rows, np.array([1, 1]))
            >>> store.pair_counts(pairs, before=np.array([30, 31])).tolist()
            [1, 2]
            >>> store.last_times(pairs, before=np.array([30, 31])).tolist(), store.first_times(pairs).tolist()
            ([10, 30], [10, 10])
        """
        order = np.lexsort((times, items, keys))
        cls.build(folder, [(keys[order], items[order], times[order])], [times[np.lexsort((times, keys))]])
        return cls.open(folder)


def _append(file: BinaryIO, values: Any, dtype: str) -> int:
    file.write(np.ascontiguousarray(values, dtype).data)
    return len(values)


def _write(files: Mapping[str, BinaryIO], by_pair: Iterable[tuple[Int64s, Ints, Int64s]]) -> dict[str, int]:
    """Write keys, pairs and pair times; a key or pair may go on in the next block."""
    sizes = dict.fromkeys(files, 0)
    last: tuple[int, int] | None = None
    for key, item, time in by_pair:
        if not len(key):
            continue
        before_key = np.concatenate([[key[0] - 1 if last is None else last[0]], key[:-1]])
        before_item = np.concatenate([[-1 if last is None else last[1]], item[:-1]])
        new_key = key != before_key
        new_pair = np.flatnonzero(new_key | (item != before_item))
        first = np.flatnonzero(new_key)
        pairs_before = np.searchsorted(new_pair, first)
        _append(files["offsets"], sizes["items"] + pairs_before, "<i8")
        _append(files["pair_offsets"], sizes["pair_times"] + new_pair, "<i8")
        sizes["keys"] += _append(files["keys"], key[first], "<i8")
        sizes["items"] += _append(files["items"], item[new_pair], "<i4")
        sizes["pair_times"] += _append(files["pair_times"], time, "<i8")
        last = (int(key[-1]), int(item[-1]))
    _append(files["offsets"], [sizes["items"]], "<i8")
    _append(files["pair_offsets"], [sizes["pair_times"]], "<i8")
    sizes["offsets"], sizes["pair_offsets"] = sizes["keys"] + 1, sizes["items"] + 1
    return sizes
