"""Concentration: how much of all engagements falls to a few queries, items and users."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.data.extras import duckdb

__all__ = ["concentration", "gini", "top_share"]

WHO = {"query": "query", "item": "item", "user": '"user"', "query and item": "query, item"}


def concentration(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return how engagements are spread over queries, items, users and pairs.

    Args:
        db: of :func:`~interactrank.evaluation.history.engaged.opened`.

    Returns:
        ``{who: {"distinct", "engagements", "top_1": share of the first hundredth, "top_10", "gini"}}``; a log
        without users has no line for them.
    """
    found = {}
    for name, columns in WHO.items():
        where = 'WHERE "user" IS NOT NULL' if name == "user" else ""
        rows = db.execute(
            f"""SELECT n, count(*) FROM (SELECT count(*) AS n FROM engaged {where} GROUP BY {columns})
            GROUP BY 1 ORDER BY 1"""
        ).fetchnumpy()
        size, times = (np.asarray(rows[c], np.int64) for c in rows)
        if not len(size):
            continue
        found[name] = {
            "distinct": int(times.sum()),
            "engagements": int((size * times).sum()),
            "top_1": top_share(size, times, 0.01),
            "top_10": top_share(size, times, 0.1),
            "gini": gini(size, times),
        }
    return found


def top_share(size: NDArray[np.int64], times: NDArray[np.int64], share: float) -> float:
    """Return the share of all that the largest have.

    Args:
        size: distinct sizes, ascending.
        times: how many have each size.
        share: of those that count as the largest; at least one does.

    Example::

        >>> top_share(np.array([1, 5]), np.array([5, 1]), 0.1)  # one of six has 5 of 10
        0.5
    """
    wanted = max(int(np.ceil(times.sum() * share)), 1)
    before = np.cumsum(times[::-1]) - times[::-1]
    taken = np.clip(wanted - before, 0, times[::-1])
    return float((taken * size[::-1]).sum() / (size * times).sum())


def gini(size: NDArray[np.int64], times: NDArray[np.int64]) -> float:
    """Return the Gini coefficient: 0 if all have the same, towards 1 if one has all.

    Args:
        size: distinct sizes, ascending.
        times: how many have each size.

    Example::

        >>> gini(np.array([3]), np.array([4])), round(gini(np.array([1, 5]), np.array([5, 1])), 4)
        (0.0, 0.3333)
    """
    total = float(times.sum())
    before = np.cumsum(times) - times
    ranks = times * before + times * (times + 1) / 2.0  # sum of the places of equal sizes
    return float(2 * (ranks * size).sum() / (total * float((size * times).sum())) - (total + 1) / total)
