"""QueryFrequency: how often each query was searched in training, in 16 bytes a distinct query."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.text import hash63, normalize


class QueryFrequency:
    """Counts of queries, by the hash of their normalised text.

    Args:
        blocks: (queries, how often each was searched); a query may come several times.

    Example::

        >>> frequency = QueryFrequency([(["Halo", "fifa"], np.array([2, 1])), (["halo "], np.array([3]))])
        >>> frequency.of(["halo", "fifa", "zelda"]).tolist()
        [5, 1, 0]
    """

    def __init__(self, blocks: Iterable[tuple[list[str], NDArray[np.int64]]]) -> None:
        hashes, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for queries, times in blocks:
            hashes.append(_hashes(queries))
            counts.append(times)
        self._hashes, place = np.unique(np.concatenate(hashes), return_inverse=True)
        self._counts = np.bincount(place, np.concatenate(counts), len(self._hashes)).astype(np.int64)

    def of(self, queries: list[str]) -> NDArray[np.int64]:
        """Return [N] how often each query was searched."""
        if not len(self._hashes):
            return np.zeros(len(queries), np.int64)
        wanted = _hashes(queries)
        at = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        return np.where(self._hashes[at] == wanted, self._counts[at], 0)


def _hashes(queries: list[str]) -> NDArray[np.int64]:
    return np.fromiter((hash63(normalize(q)) for q in queries), np.int64, len(queries))
