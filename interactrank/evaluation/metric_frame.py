"""MetricFrame: what every evaluation reduces to, a row per request.

One column per metric: a plain dictionary of arrays of one length.

- A column of floats is a metric; NaN says that it is not defined for that request (no relevant candidate,
  say).
- Every other column (integers, text) describes the request: its id, its user, how many candidates it had.

- The suffix ``_pessimistic`` of a metric is its value with relevant candidates last among those of equal
  score; the metric itself is the mean over the orders of those.

Means, intervals, slices, paired tests and the gathering over ranks consume this frame and nothing else, so
that logged candidates and full-corpus ranking share all of them.

Shapes: R requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PESSIMISTIC",
    "MetricFrame",
    "average_frames",
    "concatenate_frames",
    "count_requests",
    "frame_means",
    "hide_meaningless",
    "metric_columns",
    "metric_matrix",
    "num_requests",
    "select_requests",
]

MetricFrame = dict[str, NDArray[Any]]
PESSIMISTIC = "_pessimistic"


def num_requests(frame: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of rows.

    Args:
        frame: columns of one length R.

    Returns:
        R; 0 for a frame without columns.

    Raises:
        ValueError: the columns differ in length.

    Example::

        >>> num_requests({"mrr": np.array([1.0, 0.5])})
        2
    """
    lengths = {name: len(column) for name, column in frame.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a request frame differ in length: {lengths}")
    return next(iter(lengths.values()), 0)


def metric_columns(frame: Mapping[str, NDArray[Any]], metrics: Sequence[str] | None = None) -> list[str]:
    """Return the names of the metrics: the columns that hold floats.

    Args:
        frame: the per-request frame.
        metrics: the ones wanted; all when left out.

    Returns:
        Names, in the order of ``metrics`` or of the frame.

    Raises:
        KeyError: a wanted metric is not a column of floats.

    Example::

        >>> metric_columns({"request_id": np.array([3]), "mrr": np.array([1.0])})
        ['mrr']
    """
    present = [name for name, column in frame.items() if np.issubdtype(column.dtype, np.floating)]
    if metrics is None:
        return present
    missing = [name for name in metrics if name not in present]
    if missing:
        raise KeyError(f"no metric named {', '.join(missing)} in the frame; it has {', '.join(present)}")
    return list(metrics)


def metric_matrix(frame: Mapping[str, NDArray[Any]], metrics: Sequence[str]) -> NDArray[np.float64]:
    """Return the named metrics as columns of a matrix.

    Args:
        frame: the per-request frame of R rows.
        metrics: M names.

    Returns:
        [R, M] float64, NaN where a metric is not defined.

    Example::

        >>> metric_matrix({"mrr": np.array([1.0, 0.5])}, ["mrr"]).shape
        (2, 1)
    """
    columns = [np.asarray(frame[name], dtype=np.float64) for name in metrics]
    return np.stack(columns, axis=1) if columns else np.zeros((num_requests(frame), 0))


def select_requests(frame: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> MetricFrame:
    """Return some rows of a frame.

    Args:
        frame: the per-request frame of R rows.
        rows: [R] bool mask, or row numbers in the order wanted.

    Returns:
        A new frame.

    Example::

        >>> select_requests({"mrr": np.array([1.0, 0.5])}, np.array([False, True]))
        {'mrr': array([0.5])}
    """
    return {name: column[rows] for name, column in frame.items()}


def concatenate_frames(frames: Sequence[Mapping[str, NDArray[Any]]]) -> MetricFrame:
    """Stack frames of different requests.

    Args:
        frames: at least one; all with the same columns.

    Returns:
        One frame, rows in the order given, columns in the order of the first frame.

    Raises:
        ValueError: no frame, or the columns differ.

    Example::

        >>> concatenate_frames([{"mrr": np.array([1.0])}, {"mrr": np.array([0.5])}])
        {'mrr': array([1. , 0.5])}
    """
    if not frames:
        raise ValueError("no frame to concatenate; evaluate at least one batch (it may hold no request)")
    names = list(frames[0])
    for frame in frames:
        if set(frame) != set(names):
            raise ValueError(f"frames differ in their columns: {sorted(names)} and {sorted(frame)}")
    return {name: np.concatenate([frame[name] for frame in frames]) for name in names}


def average_frames(frames: Sequence[Mapping[str, NDArray[Any]]]) -> MetricFrame:
    """Average frames of the same requests: each metric is the mean of theirs, request by request.

    With a frame for each seed of a model, intervals and paired tests of the result are those of the mean over
    the seeds.

    Args:
        frames: at least one; the same requests in the same order.

    Returns:
        The columns of the first frame, metrics averaged; NaN where one of them is not defined.

    Raises:
        ValueError: no frame, or columns other than metrics differ between them.

    Example::

        >>> average_frames([{"mrr": np.array([1.0, 0.5])}, {"mrr": np.array([0.0, 0.5])}])
        {'mrr': array([0.5, 0.5])}
    """
    if not frames:
        raise ValueError("no frame to average; evaluate at least one seed")
    first = frames[0]
    metrics = metric_columns(first)
    for frame in frames[1:]:
        for name, column in first.items():
            if name not in frame or (name not in metrics and not np.array_equal(column, frame[name])):
                raise ValueError(f"column {name!r} differs; only frames of the same requests can be averaged")
    return {
        name: np.mean([frame[name] for frame in frames], axis=0) if name in metrics else column
        for name, column in first.items()
    }


def frame_means(
    frame: Mapping[str, NDArray[Any]], metrics: Sequence[str] | None = None
) -> dict[str, tuple[float, int]]:
    """Return the mean of every metric over the requests for which it is defined.

    Args:
        frame: the per-request frame.
        metrics: the ones wanted; all when left out.

    Returns:
        ``{metric: (mean, number of requests with a value)}``; the mean is NaN without any.

    Example::

        >>> frame_means({"mrr": np.array([1.0, np.nan, 0.5])})
        {'mrr': (0.75, 2)}
    """
    means = {}
    for name in metric_columns(frame, metrics):
        column = np.asarray(frame[name], dtype=np.float64)
        defined = column[~np.isnan(column)]
        means[name] = (float(defined.mean()) if len(defined) else float("nan"), len(defined))
    return means


def count_requests(frame: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Count how many requests were evaluated and how many of them count in the ranking metrics.

    Args:
        frame: a per-request frame with the column ``relevant`` (number of relevant candidates).

    Returns:
        ``{"requests", "ranked", "without_relevant"}``; the first is the sum of the other two.

    Example::

        >>> count_requests({"relevant": np.array([2, 0, 1])})
        {'requests': 3, 'ranked': 2, 'without_relevant': 1}
    """
    ranked = int((frame["relevant"] > 0).sum())
    total = num_requests(frame)
    return {"requests": total, "ranked": ranked, "without_relevant": total - ranked}


def hide_meaningless(frame: Mapping[str, NDArray[Any]]) -> MetricFrame:
    """Return the frame, its metrics NaN if no request has both a relevant and another candidate.

    Any order is perfect for a request whose candidates are all relevant.

    Args:
        frame: its column ``auc_pairs`` has relevant x irrelevant candidates of each request; a frame without
            is returned as it is.

    Example::

        >>> hide_meaningless({"auc_pairs": np.array([0, 0]), "mrr": np.array([1.0, np.nan])})["mrr"]
        array([nan, nan])
        >>> hide_meaningless({"auc_pairs": np.array([0, 3]), "mrr": np.array([1.0, 0.5])})["mrr"]
        array([1. , 0.5])
    """
    if "auc_pairs" not in frame or (frame["auc_pairs"] > 0).any():
        return dict(frame)
    return {**frame, **{name: np.full(len(frame[name]), np.nan) for name in metric_columns(frame)}}
