"""Keys of a query's text: one for the whole of it, or one for each part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from interactrank.cross_features.jagged import Jagged, per_row, take
from interactrank.cross_features.text import ANALYZERS, compact, hash63, normalize

__all__ = ["hashed", "text_keys", "within_segment"]

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / phi: multiplying by it spreads neighbouring numbers
_WHOLE: dict[str, Callable[[str], str]] = {"query": normalize, "compact": compact}


def text_keys(kind: str, queries: list[str]) -> Jagged:
    """Return the hashed keys of each query, none twice: ``query``, ``compact``, ``words`` or ``trigrams``.

    A query without any letter or digit has itself for a key, and no other that it would share.

    Example::

        >>> text_keys("words", ["red hat red", ""]).lengths.tolist()
        [2, 0]
    """
    known: dict[str, int] = {}
    rows = [known.setdefault(query, len(known)) for query in queries]
    found = per_row([_keys(kind, query) for query in known])
    return found if len(known) == len(rows) else take(found, np.array(rows, np.int64))


@lru_cache(maxsize=1 << 15)  # the next blocks have many of the same queries
def _keys(kind: str, query: str) -> tuple[int, ...]:
    parts = [_WHOLE[kind](query)] if kind in _WHOLE else ANALYZERS[kind](query)
    return tuple(dict.fromkeys(map(hash63, filter(None, parts))))


def hashed(texts: Sequence[str | None]) -> Jagged:
    """Return the hash of each text as its only key; none for None.

    Example::

        >>> hashed(["ada", None]).lengths.tolist()
        [1, 0]
    """
    known = np.fromiter((text is not None for text in texts), bool, len(texts))
    values = np.fromiter((hash63(text) for text in texts if text is not None), np.int64, int(known.sum()))
    return Jagged(values, known.astype(np.int64))


def within_segment(keys: Jagged, values: list[str | None]) -> Jagged:
    """Return the keys mixed with the segment's value of each request; none if that is not known.

    Example::

        >>> within_segment(per_row([[7], [7], [7]]), ["de", None, "de"]).lengths.tolist()
        [1, 0, 1]

    A key of the segment is a hash of (key, value): the key is multiplied, modulo 2^64, by an odd constant,
    which no two keys share a product of, and XOR-ed with the value's hash. The lowest bit, which the product
    mixes least, is dropped, so that keys are 63 bits as all others are.
    """
    known = np.array([v is not None for v in values], bool)
    salt = np.array([0 if v is None else hash63(v) for v in values], np.uint64)
    kept = np.repeat(known, keys.lengths)
    mixed = (keys.values.astype(np.uint64) * GOLDEN_RATIO) ^ np.repeat(salt, keys.lengths)
    return Jagged((mixed >> np.uint64(1)).astype(np.int64)[kept], np.where(known, keys.lengths, 0))
