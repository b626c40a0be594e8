"""Metrics by slice of the requests: frequent or rare query, seen or unseen, segment, length of history; by
user.

A slice is a label per request (:class:`Slice`); :func:`metrics_by_slice` gives every label its own intervals
and count. Frequencies are those of the *training* log, so that a slice never depends on what is evaluated.

Shapes: R requests, Q distinct training queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.arrays import Array, as_array, as_integers
from interactrank.evaluation.metric_frame import (
    MetricFrame,
    hide_meaningless,
    metric_columns,
    metric_matrix,
    num_requests,
    select_requests,
)
from interactrank.evaluation.stats.bootstrap import Interval, bootstrap_intervals

__all__ = [
    "Slice",
    "SliceMetrics",
    "length_slice",
    "metrics_by_slice",
    "per_user_means",
    "query_frequency_slice",
    "seen_query_slice",
    "segment_slice",
]


@dataclass(frozen=True)
class Slice:
    """A label for each of R requests.

    Attributes:
        names: the labels, in the order in which a report shows them.
        index: [R] int64, which of ``names`` each request has.
    """

    names: tuple[str, ...]
    index: NDArray[np.int64]

    def __post_init__(self) -> None:
        as_integers(self.index, "index", below=len(self.names))


@dataclass(frozen=True)
class SliceMetrics:
    """The metrics of the requests of one label.

    Attributes:
        requests: how many requests have the label, with or without a relevant candidate.
        metrics: ``{metric: Interval}``.
    """

    requests: int
    metrics: dict[str, Interval]


def query_frequency_slice(
    frequency: Array, train_counts: Array, *, shares: tuple[float, float] = (1 / 3, 2 / 3)
) -> Slice:
    """Label head, torso, tail and unseen queries, cut by training traffic.

    Training queries in falling frequency make up the head until their searches reach the first share of all,
    the torso until the second, the tail beyond. Queries of equal frequency fall on the same side, the more
    frequent one.

    Args:
        frequency: [R] how often the query of each request was searched in training; 0 = never.
        train_counts: [Q] how often each distinct training query was searched there, in any order.
        shares: of the training traffic that end the head and the torso.

    Returns:
        Labels ``head``, ``torso``, ``tail``, ``unseen``.

    Raises:
        ValueError: a negative count, or shares that are not 0 < first < second < 1.

    Example::

        >>> slices = query_frequency_slice([50, 9, 1, 0], train_counts=[50, 20, 10, 9, 5, 3, 2, 1])
        >>> [slices.names[i] for i in slices.index]
        ['head', 'tail', 'tail', 'unseen']
    """
    if not 0 < shares[0] < shares[1] < 1:
        raise ValueError(
            f"shares {shares} are not allowed; 0 < head < torso < 1 is needed, such as (1/3, 2/3)"
        )
    seen = as_integers(frequency, "frequency")
    counts = np.sort(as_integers(train_counts, "train_counts"))[::-1]
    traffic = np.cumsum(counts)
    if len(counts) == 0 or traffic[-1] == 0:
        head_from = torso_from = 1
    else:
        # The first query at which the traffic reaches the share still belongs above the cut.
        head_from, torso_from = (
            int(counts[np.searchsorted(traffic, share * traffic[-1])]) for share in shares
        )
    index = np.select([seen == 0, seen >= head_from, seen >= torso_from], [3, 0, 1], default=2)
    return Slice(("head", "torso", "tail", "unseen"), index.astype(np.int64))


def seen_query_slice(frequency: Array) -> Slice:
    """Label queries that training has seen, and others.

    Args:
        frequency: [R] how often the query of each request occurred in training; 0 = never.

    Returns:
        Labels ``seen``, ``unseen``.

    Example::

        >>> seen_query_slice([3, 0]).index
        array([0, 1])
    """
    return Slice(("seen", "unseen"), (as_integers(frequency, "frequency") == 0).astype(np.int64))


def segment_slice(values: Sequence[object] | NDArray[Any]) -> Slice:
    """Label each value of a segment (country, gender, device).

    Args:
        values: [R] values; None and NaN become ``missing``.

    Returns:
        The values as text, sorted, ``missing`` last.

    Example::

        >>> segment_slice(["US", None, "DE", "US"])
        Slice(names=('DE', 'US', 'missing'), index=array([1, 2, 0, 1]))
    """
    # A value that differs from itself is NaN.
    labels = np.array(["missing" if v is None or v != v else str(v) for v in values], dtype=np.str_)
    names = sorted(set(labels.tolist()) - {"missing"})
    names += ["missing"] if (labels == "missing").any() else []
    place = {name: i for i, name in enumerate(names)}
    return Slice(tuple(names), np.array([place[label] for label in labels.tolist()], dtype=np.int64))


def length_slice(lengths: Array, *, edges: Sequence[int] = (0, 1, 5, 20, 100)) -> Slice:
    """Label buckets of a length, such as the number of events in the user sequence.

    Args:
        lengths: [R] 0 or more.
        edges: where buckets begin, strictly increasing, the first one 0.

    Returns:
        Labels such as ``0``, ``1-4``, ``5-19``, ``20-99``, ``100+``.

    Raises:
        ValueError: edges that do not begin with 0 and increase, or a negative length.

    Example::

        >>> slices = length_slice([0, 4, 250])
        >>> [slices.names[i] for i in slices.index]
        ['0', '1-4', '100+']
    """
    starts = list(edges)
    if not starts or starts[0] != 0 or any(b <= a for a, b in pairwise(starts)):
        raise ValueError(f"edges {starts} are not allowed; they must begin with 0 and increase")
    names = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(starts)]
    index = np.searchsorted(starts, as_integers(lengths, "lengths"), side="right") - 1
    return Slice((*names, f"{starts[-1]}+"), index.astype(np.int64))


def metrics_by_slice(
    frame: Mapping[str, NDArray[Any]],
    slices: Mapping[str, Slice],
    metrics: Sequence[str] | None = None,
    *,
    clusters: NDArray[Any] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, SliceMetrics]]:
    """Measure every label of every slice.

    Args:
        frame: per-request frame of R rows.
        slices: ``{name of the slice: labels of the R requests}``.
        metrics: names; all when left out.
        clusters: [R] user of each request, to resample users.
        resamples: of the bootstrap.
        confidence: of the intervals.
        seed: of the draws.

    Returns:
        ``{slice: {label: SliceMetrics}}``; a label without a request stays, with 0 requests and NaN.

    Raises:
        ValueError: a slice of another number of requests.

    Example::

        >>> frame = {"mrr": np.array([1.0, 0.5, 0.25])}
        >>> result = metrics_by_slice(frame, {"query": seen_query_slice([4, 0, 9])})
        >>> result["query"]["seen"].requests, result["query"]["seen"].metrics["mrr"].value
        (2, 0.625)
    """
    result: dict[str, dict[str, SliceMetrics]] = {}
    for title, labels in slices.items():
        if len(labels.index) != num_requests(frame):
            raise ValueError(
                f"slice {title!r} labels {len(labels.index)} requests but the frame has {num_requests(frame)}"
            )
        result[title] = {}
        for place, name in enumerate(labels.names):
            rows = labels.index == place
            intervals = bootstrap_intervals(
                hide_meaningless(select_requests(frame, rows)),
                metric_columns(frame, metrics),
                clusters=None if clusters is None else clusters[rows],
                resamples=resamples,
                confidence=confidence,
                seed=seed,
            )
            result[title][name] = SliceMetrics(int(rows.sum()), intervals)
    return result


def per_user_means(
    frame: Mapping[str, NDArray[Any]], users: Array, metrics: Sequence[str] | None = None
) -> MetricFrame:
    """Return one row per user: the mean of each metric over the user's requests.

    The mean of the result counts every user once, however active. It is again a frame, so that
    :func:`bootstrap_intervals` and :func:`compare_paired` apply.

    Args:
        frame: per-request frame of R rows.
        users: [R] the user of each request, of any type that sorts.
        metrics: names; all when left out.

    Returns:
        Columns ``user`` (sorted), ``requests`` (int64) and the metrics, NaN where a user has no defined
        value.

    Raises:
        ValueError: users of another length.

    Example::

        >>> means = per_user_means({"mrr": np.array([1.0, 0.0, 0.5])}, np.array(["b", "b", "a"]))
        >>> means["user"].tolist(), means["requests"].tolist(), means["mrr"].tolist()
        (['a', 'b'], [1, 2], [0.5, 0.5])
    """
    names = metric_columns(frame, metrics)
    who = as_array(users, "users")
    if len(who) != num_requests(frame):
        raise ValueError(f"users has {len(who)} entries but the frame has {num_requests(frame)} requests")
    distinct, user = np.unique(who, return_inverse=True)
    values = metric_matrix(frame, names)
    result: MetricFrame = {"user": distinct, "requests": np.bincount(user, minlength=len(distinct))}
    for column, name in enumerate(names):
        defined = ~np.isnan(values[:, column])
        number = np.bincount(user[defined], minlength=len(distinct))
        total = np.bincount(user[defined], weights=values[defined, column], minlength=len(distinct))
        result[name] = total / np.where(number > 0, number, np.nan)
    return result
