"""The keys under which requests are counted, and are looked up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.features import KeySpace, RequestKeys, key_spaces
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.text import ANALYZERS, compact, hash63, normalize
from interactrank.data.arrow_lists import constant, per_row
from interactrank.schema import SearchSchema

__all__ = ["request_keys", "text_keys"]

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / phi: multiplying by it spreads neighbouring numbers


def text_keys(kind: str, queries: list[str]) -> Jagged:
    """Return the hashed keys of each query: ``query``, ``compact``, ``words`` or ``trigrams``."""
    whole: dict[str, Callable[[str], str]] = {"query": normalize, "compact": compact}
    known: dict[str, list[int]] = {}
    rows = []
    for query in queries:
        if query not in known:
            parts = [whole[kind](query)] if kind in whole else ANALYZERS[kind](query)
            known[query] = list(dict.fromkeys(map(hash63, parts)))
        rows.append(known[query])
    return per_row(rows)


def request_keys(
    schema: SearchSchema,
    *,
    queries: list[str],
    users: list[str | None],
    segments: dict[str, list[str | None]],
    history: dict[str, Jagged],
    time: NDArray[np.int64],
    history_end: NDArray[np.int64],
) -> RequestKeys:
    """Return the keys of R requests.

    Args:
        schema: says which keys are needed.
        queries, users: of the R requests; a user may be None.
        segments: segment -> the value of each request's user; None if it is not known.
        history: distinct items of each request's user sequence: ``history`` all of them, ``history_query``
            those that followed the same query.
        time, history_end: [R] milliseconds.
    """
    keys: dict[KeySpace, Jagged] = {}
    for space in key_spaces(schema):
        if space.key == "all":
            found = constant(0, len(queries))
        elif space.key == "user":
            found = per_row([[] if u is None else [hash63(u)] for u in users])
        elif space.key in history:
            found = history[space.key]
        else:
            found = text_keys(space.key, queries)
        if space.segment is not None:
            found = _within(found, segments[space.segment])
        keys[space] = found
    parts = {str(x.analyzer): text_keys(x.analyzer, queries) for x in schema.lexical}
    return RequestKeys(keys, time, history_end, parts)


def _within(keys: Jagged, values: list[str | None]) -> Jagged:
    """Return keys of one segment: mixed with the segment's value; none if the value is not known.

    A key of the segment is a hash of (key, value): the key is multiplied, modulo 2^64, by an odd constant,
    which no two keys share a product of, and XOR-ed with the value's hash. The lowest bit, which the product
    mixes least, is dropped, so that keys are 63 bits as all others are.
    """
    known = np.array([v is not None for v in values], bool)
    salt = np.array([0 if v is None else hash63(v) for v in values], np.uint64)
    kept = np.repeat(known, keys.lengths)
    mixed = (keys.values.astype(np.uint64) * GOLDEN_RATIO) ^ np.repeat(salt, keys.lengths)
    return Jagged((mixed >> np.uint64(1)).astype(np.int64)[kept], np.where(known, keys.lengths, 0))
