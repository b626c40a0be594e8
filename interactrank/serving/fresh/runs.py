"""Runs: what was counted since the export, as a few sorted arrays of falling size.

A run is a count store in memory, in the very form of those of an export. New rows become a run; neighbouring
runs of like size are merged, so that N rows lie in some log(N) runs and each is copied some log(N) times
(the log-structured merge tree of O'Neil et al., 1996). Small runs are merged as rows come, large ones by
whoever asks what is :func:`due`, while rows come and requests read. Runs never change: readers keep those
that they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import EngagementRows

__all__ = [
    "AT_ONCE",
    "RATIO",
    "SMALL",
    "Runs",
    "added",
    "bytes_of",
    "count_run",
    "difference",
    "due",
    "joins",
    "merged",
    "removed",
]

Runs = tuple[EngagementCountStore, ...]
RATIO = 6  # a run is at least that much larger than the next
SMALL = 512  # rows up to which a run is merged with any other small one
AT_ONCE = 1 << 16  # rows of the largest run that is made as rows come
MOST = 24  # runs from which on rows that come wait for a merge of any size


def count_run(rows: EngagementRows) -> EngagementCountStore:
    """Return rows, in any order, as a count store in memory.

    Example::

        >>> run = count_run(EngagementRows(*np.array([[7, 7, 7], [1, 2, 1], [30, 20, 10]])))
        >>> run.pair_counts(run.find(run.rows(np.array([7])), np.array([1])), np.array([30])).tolist()
        [1]
    """
    order = np.lexsort((rows.time, rows.item, rows.key))
    key, item, time = rows.key[order], rows.item[order], rows.time[order]
    new_key = np.append(True, key[1:] != key[:-1])[: len(key)]
    new_pair = np.flatnonzero(new_key | np.append(True, item[1:] != item[:-1])[: len(key)])
    first = np.flatnonzero(new_key)
    return EngagementCountStore(
        keys=key[first].astype(np.int64),
        offsets=np.append(np.searchsorted(new_pair, first), len(new_pair)).astype(np.int64),
        items=item[new_pair].astype(np.int32),
        pair_offsets=np.append(new_pair, len(key)).astype(np.int64),
        pair_times=time.astype(np.int64),
        key_times=time[np.lexsort((time, np.cumsum(new_key)))].astype(np.int64),
    )


def rows_of_run(run: EngagementCountStore) -> EngagementRows:
    """Return the rows that a run was made of, ordered by key, item and time."""
    times = np.diff(run.pair_offsets)
    key = np.repeat(run.keys, np.diff(run.offsets))
    return EngagementRows(np.repeat(key, times), np.repeat(run.items, times), run.pair_times)


def added(runs: Runs, rows: EngagementRows) -> Runs:
    """Return the runs with more rows.

    Example::

        >>> one = EngagementRows(*np.array([[7], [1], [30]]))
        >>> len(added(added((), one), one))
        1
    """
    if not len(rows.key):
        return runs
    rest, parts = list(runs), [rows]
    size = len(rows.key)
    while rest and joins(len(rest[-1].pair_times), size, len(rest)):
        last = rest.pop()
        size += len(last.pair_times)
        parts.append(rows_of_run(last))
    return (*rest, count_run(_together(parts)))


def joins(last: int, size: int, runs: int) -> bool:
    """Return whether rows are merged into the last run as they come.

    Args:
        last: rows of the last run.
        size: rows that come.
        runs: how many there are.
    """
    return last < RATIO * max(size, SMALL) and (last + size <= AT_ONCE or runs >= MOST)


def due(sizes: Sequence[int]) -> int | None:
    """Return the first run that is to be merged with the next one; None if they fall in size.

    Example::

        >>> due([10**6, 10**5]), due([10**6, 10**5, 10**5])
        (None, 1)
    """
    pairs = enumerate(pairwise(sizes))
    return next((n for n, (one, other) in pairs if one < RATIO * max(other, SMALL)), None)


def merged(one: EngagementCountStore, other: EngagementCountStore) -> EngagementCountStore:
    """Return two runs as one."""
    return count_run(_together([rows_of_run(one), rows_of_run(other)]))


def removed(runs: Runs, rows: EngagementRows) -> Runs:
    """Return the runs without some rows; a row that is in none of them is ignored.

    What was counted is seldom taken back, so that this copies the runs that had such a row.
    """
    left, found = rows, []
    for run in runs:
        kept, left = difference(rows_of_run(run), left)
        found.append(run if len(kept.key) == len(run.pair_times) else count_run(kept))
    return tuple(run for run in found if len(run.pair_times))


def difference(rows: EngagementRows, others: EngagementRows) -> tuple[EngagementRows, EngagementRows]:
    """Return the rows that ``others`` does not have, and those of ``others`` that ``rows`` does not have.

    Repetitions count: two equal rows against one leave one.

    Example::

        >>> two, one = EngagementRows(*np.array([[7, 7], [1, 1], [5, 5]])), EngagementRows([7], [1], [5])
        >>> more, fewer = difference(two, EngagementRows(*map(np.array, one)))
        >>> more.time.tolist(), fewer.time.tolist()
        ([5], [])
    """
    if not len(others.key) or not len(rows.key):
        return rows, others
    both = _together([rows, others])
    sign = np.repeat([1, -1], [len(rows.key), len(others.key)])
    order = np.lexsort((both.time, both.item, both.key))
    table, sign = np.stack(both)[:, order], sign[order]
    first = np.flatnonzero(np.append(True, (table[:, 1:] != table[:, :-1]).any(0)))
    net = np.add.reduceat(sign, first)
    more, fewer = (np.repeat(table[:, first], np.maximum(times, 0), axis=1) for times in (net, -net))
    return EngagementRows(*more), EngagementRows(*fewer)


def bytes_of(runs: Runs) -> int:
    """Return what the arrays of the runs take."""
    return sum(getattr(run, name).nbytes for run in runs for name in run.arrays)


def _together(rows: list[EngagementRows]) -> EngagementRows:
    columns: list[Int64s] = [
        np.concatenate([np.asarray(c, np.int64) for c in cs]) for cs in zip(*rows, strict=True)
    ]
    return EngagementRows(*columns)
