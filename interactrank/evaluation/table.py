"""The per-request table that every evaluation reduces to.

One row per request, one column per metric: a plain dictionary of arrays of one length.

- A column of floats is a metric; NaN says that it is not defined for that request (no relevant candidate,
  say).
- Every other column (integers, text) describes the request: its id, its user, how many candidates it had.

Means, intervals, slices, paired tests and the gathering over ranks consume this table and nothing else, so
that logged candidates and full-corpus ranking share all of them.

Shapes: R requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "RequestTable",
    "average_tables",
    "concatenate_tables",
    "count_requests",
    "metric_columns",
    "metric_matrix",
    "num_requests",
    "select_requests",
    "table_means",
]

RequestTable = dict[str, NDArray[Any]]


def num_requests(table: Mapping[str, NDArray[Any]]) -> int:
    """The number of rows.

    Args:
        table: columns of one length R.

    Returns:
        R; 0 for a table without columns.

    Raises:
        ValueError: the columns differ in length.

    Example::

        >>> num_requests({"mrr": np.array([1.0, 0.5])})
        2
    """
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a request table differ in length: {lengths}")
    return next(iter(lengths.values()), 0)


def metric_columns(table: Mapping[str, NDArray[Any]], metrics: Sequence[str] | None = None) -> list[str]:
    """The names of the metrics: the columns that hold floats.

    Args:
        table: the per-request table.
        metrics: the ones wanted; all when left out.

    Returns:
        Names, in the order of ``metrics`` or of the table.

    Raises:
        KeyError: a wanted metric is not a column of floats.

    Example::

        >>> metric_columns({"request_id": np.array([3]), "mrr": np.array([1.0])})
        ['mrr']
    """
    present = [name for name, column in table.items() if np.issubdtype(column.dtype, np.floating)]
    if metrics is None:
        return present
    missing = [name for name in metrics if name not in present]
    if missing:
        raise KeyError(f"no metric named {', '.join(missing)} in the table; it has {', '.join(present)}")
    return list(metrics)


def metric_matrix(table: Mapping[str, NDArray[Any]], metrics: Sequence[str]) -> NDArray[np.float64]:
    """The named metrics side by side.

    Args:
        table: the per-request table of R rows.
        metrics: M names.

    Returns:
        [R, M] float64, NaN where a metric is not defined.

    Example::

        >>> metric_matrix({"mrr": np.array([1.0, 0.5])}, ["mrr"]).shape
        (2, 1)
    """
    columns = [np.asarray(table[name], dtype=np.float64) for name in metrics]
    return np.stack(columns, axis=1) if columns else np.zeros((num_requests(table), 0))


def select_requests(table: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> RequestTable:
    """Some rows of a table.

    Args:
        table: the per-request table of R rows.
        rows: [R] bool mask, or row numbers in the order wanted.

    Returns:
        A new table.

    Example::

        >>> select_requests({"mrr": np.array([1.0, 0.5])}, np.array([False, True]))
        {'mrr': array([0.5])}
    """
    return {name: column[rows] for name, column in table.items()}


def concatenate_tables(tables: Sequence[Mapping[str, NDArray[Any]]]) -> RequestTable:
    """Tables of different requests, one under the other.

    Args:
        tables: at least one; all with the same columns.

    Returns:
        One table, rows in the order given, columns in the order of the first table.

    Raises:
        ValueError: no table, or the columns differ.

    Example::

        >>> concatenate_tables([{"mrr": np.array([1.0])}, {"mrr": np.array([0.5])}])
        {'mrr': array([1. , 0.5])}
    """
    if not tables:
        raise ValueError("no table to concatenate; evaluate at least one batch (it may hold no request)")
    names = list(tables[0])
    for table in tables:
        if set(table) != set(names):
            raise ValueError(f"tables differ in their columns: {sorted(names)} and {sorted(table)}")
    return {name: np.concatenate([table[name] for table in tables]) for name in names}


def average_tables(tables: Sequence[Mapping[str, NDArray[Any]]]) -> RequestTable:
    """Tables of the same requests as one: each metric is the mean of theirs, request by request.

    With a table for each seed of a model, intervals and paired tests of the result are those of the mean over
    the seeds.

    Args:
        tables: at least one; the same requests in the same order.

    Returns:
        The columns of the first table, metrics averaged; NaN where one of them is not defined.

    Raises:
        ValueError: no table, or columns other than metrics differ between them.

    Example::

        >>> average_tables([{"mrr": np.array([1.0, 0.5])}, {"mrr": np.array([0.0, 0.5])}])
        {'mrr': array([0.5, 0.5])}
    """
    if not tables:
        raise ValueError("no table to average; evaluate at least one seed")
    first = tables[0]
    metrics = metric_columns(first)
    for table in tables[1:]:
        for name, column in first.items():
            if name not in table or (name not in metrics and not np.array_equal(column, table[name])):
                raise ValueError(f"column {name!r} differs; only tables of the same requests can be averaged")
    return {
        name: np.mean([table[name] for table in tables], axis=0) if name in metrics else column
        for name, column in first.items()
    }


def table_means(
    table: Mapping[str, NDArray[Any]], metrics: Sequence[str] | None = None
) -> dict[str, tuple[float, int]]:
    """The mean of every metric over the requests for which it is defined.

    Args:
        table: the per-request table.
        metrics: the ones wanted; all when left out.

    Returns:
        ``{metric: (mean, number of requests with a value)}``; the mean is NaN where there is no such request.

    Example::

        >>> table_means({"mrr": np.array([1.0, np.nan, 0.5])})
        {'mrr': (0.75, 2)}
    """
    means = {}
    for name in metric_columns(table, metrics):
        column = np.asarray(table[name], dtype=np.float64)
        defined = column[~np.isnan(column)]
        means[name] = (float(defined.mean()) if len(defined) else float("nan"), len(defined))
    return means


def count_requests(table: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """How many requests were evaluated and how many of them count in the ranking metrics.

    Args:
        table: a per-request table with the column ``relevant`` (number of relevant candidates).

    Returns:
        ``{"requests", "ranked", "without_relevant"}``; the first is the sum of the other two.

    Example::

        >>> count_requests({"relevant": np.array([2, 0, 1])})
        {'requests': 3, 'ranked': 2, 'without_relevant': 1}
    """
    ranked = int((table["relevant"] > 0).sum())
    total = num_requests(table)
    return {"requests": total, "ranked": ranked, "without_relevant": total - ranked}
