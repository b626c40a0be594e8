"""TileCountStore: counts by tiles of time, for what is too frequent to keep every moment of.

A tile counts only when it is over: a request sees the tiles that ended before it or as it was made. So
nothing leaks, and the price is a delay of at most one tile. The idea is that of tiled windows in feature
stores (Chronon, Tecton). Shapes: N looked-up rows, P pairs, K keys, T tiles of a pair or key with a count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from interactrank.cross_features.count_store import CountStore
from interactrank.cross_features.pair_index import Int64s, Ints, search_segments
from interactrank.cross_features.searches import searches

__all__ = ["TileCountStore"]


class TileCountStore(CountStore):
    """A pair index whose pairs and keys have a running count at the end of each of their tiles.

    Running counts go over all pairs (keys) and are kept modulo 2^32, so a difference within one is right
    below 2^32 events. A tile takes 8 bytes of a pair and 8 of a key; an event of an exact store takes 16.

    Args:
        tile_ms: [1] int64, length of a tile in milliseconds.
        pair_offsets: [P + 1] int64; the tiles of pair i are ``pair_offsets[i]..pair_offsets[i + 1]``.
        pair_tiles: [T] int32, tiles since 1970, ascending within a pair.
        pair_sums: [T + 1] uint32, the running count before each tile.
        key_offsets, key_tiles, key_sums: the same for keys.
    """

    arrays: ClassVar[dict[str, str]] = {
        **CountStore.arrays,
        "tile_ms": "<i8",
        "pair_offsets": "<i8",
        "pair_tiles": "<i4",
        "pair_sums": "<u4",
        "key_offsets": "<i8",
        "key_tiles": "<i4",
        "key_sums": "<u4",
    }

    def __init__(self, *, keys: Int64s, offsets: Int64s, items: Ints, tile_ms: Int64s, **tiles: Any) -> None:
        super().__init__(keys=keys, offsets=offsets, items=items)
        self.tile_ms = tile_ms
        self.pairs, self.of_keys = (
            _Tiles(tiles[f"{of}_offsets"], tiles[f"{of}_tiles"], tiles[f"{of}_sums"])
            for of in ("pair", "key")
        )

    def key_counts(self, rows: Int64s, before: Int64s) -> Int64s:
        """Return [N] the count of each key row in tiles that end at ``before`` or earlier; 0 for row -1."""
        return self._counts(self.of_keys, rows, before)

    def pair_counts(self, pairs: Int64s, before: Int64s) -> Int64s:
        """Return [N] the count of each pair in tiles that end at ``before`` or earlier."""
        return self._counts(self.pairs, pairs, before)

    def _counts(self, of: _Tiles, which: Int64s, before: Int64s) -> Int64s:
        tile = before // int(self.tile_ms[0])
        compiled = searches()
        if compiled is not None:
            return compiled.counts(of.offsets, of.tiles, which, tile, of.sums)
        first = np.maximum(which, 0)
        low, high = np.asarray(of.offsets[first]), np.asarray(of.offsets[first + (which >= 0)])
        end = search_segments(of.tiles, low, high, tile)
        return (of.sums[end] - of.sums[low]).astype(np.int64)

    @classmethod
    def build(
        cls,
        folder: Path,
        by_pair: Iterable[tuple[Int64s, Ints, Int64s]],
        by_key: Iterable[Int64s],
        tile_ms: int,
    ) -> None:
        """Write a store into ``folder`` from sorted streams; its tiles, not the events, are in memory.

        Args:
            folder: created if need be.
            by_pair: blocks of (key, item, time), ordered by key, item and time.
            by_key: blocks of the times alone, ordered by key and time.
            tile_ms: length of a tile in milliseconds.

        Example::

            >>> import tempfile
            >>> folder = Path(tempfile.mkdtemp())
            >>> rows = np.array([7, 7, 7]), np.array([1, 1, 1]), np.array([1, 9, 10])  # tiles 0, 0 and 1
            >>> TileCountStore.build(folder, [rows], [rows[2]], tile_ms=10)
            >>> store = TileCountStore.open(folder)
            >>> pairs = store.find(store.rows(np.array([7] * 3)), np.array([1] * 3))
            >>> store.pair_counts(pairs, before=np.array([9, 10, 20])).tolist()
            [0, 2, 3]
        """
        pairs = _Runs(3)
        for key, item, time in by_pair:
            pairs.add(key, item, time // tile_ms)
        key, item, tile = pairs.columns()
        new_key = _starts(key)
        new_pair = _starts(key, item)
        of_key = np.add.reduceat(pairs.sizes(), new_key) if len(new_key) else np.empty(0, np.int64)
        keys = _Runs(2)
        row = np.repeat(np.arange(len(new_key)), of_key)
        position = 0
        for time in by_key:
            keys.add(row[position : position + len(time)], time // tile_ms)
            position += len(time)
        if position != len(row):
            raise ValueError(f"a store of {len(row)} events has {position} times")
        key_row, key_tile = keys.columns()
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            "keys": key[new_key],
            "offsets": np.append(np.searchsorted(new_pair, new_key), len(new_pair)),
            "items": item[new_pair],
            "tile_ms": np.array([tile_ms]),
            "pair_offsets": np.append(new_pair, len(tile)),
            "pair_tiles": tile,
            "pair_sums": _running(pairs.sizes()),
            "key_offsets": np.append(_starts(key_row), len(key_row)),
            "key_tiles": key_tile,
            "key_sums": _running(keys.sizes()),
        }
        for name, dtype in cls.arrays.items():
            arrays[name].astype(dtype).tofile(folder / name)
        (folder / "index.json").write_text(json.dumps({name: len(a) for name, a in arrays.items()}))


class _Tiles(NamedTuple):
    """The tiles of pairs, or of keys."""

    offsets: Int64s
    tiles: Ints
    sums: Any


class _Runs:
    """Equal rows that follow one another, counted, over blocks.

    Args:
        width: columns.
    """

    def __init__(self, width: int) -> None:
        self._columns: list[list[Any]] = [[] for _ in range(width)]
        self._sizes: list[Any] = []

    def add(self, *columns: Any) -> None:
        """Append the runs of a block; the first may go on with the last of the block before."""
        if not len(columns[0]):
            return
        first = _starts(*columns)
        sizes = np.diff(np.append(first, len(columns[0])))
        heads = [np.asarray(c, np.int64)[first] for c in columns]
        if self._sizes and all(c[-1][-1] == head[0] for c, head in zip(self._columns, heads, strict=True)):
            self._sizes[-1][-1] += sizes[0]
            heads, sizes = [head[1:] for head in heads], sizes[1:]
        if len(sizes):
            self._sizes.append(sizes)
            for column, head in zip(self._columns, heads, strict=True):
                column.append(head)

    def columns(self) -> list[Int64s]:
        """Return the values of each run."""
        return [np.concatenate([np.empty(0, np.int64), *column]) for column in self._columns]

    def sizes(self) -> Int64s:
        """Return how long each run is."""
        return np.concatenate([np.empty(0, np.int64), *self._sizes])


def _starts(*columns: Any) -> Int64s:
    """Return where a row differs from the one before; the first row does."""
    changed = np.zeros(len(columns[0]), bool)
    changed[:1] = True
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changed)


def _running(sizes: Int64s) -> Int64s:
    return np.concatenate([[0], np.cumsum(sizes)])
