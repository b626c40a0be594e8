"""Is one model better than another on the same requests? Paired differences, their interval and a p-value.

Requests differ far more than models do, so two intervals that overlap say little; the difference within each
request says much more. The interval of the mean difference is a paired bootstrap; the p-value is of a
randomisation test: were the models equal, the sign of each difference would be a coin toss (Smucker, Allan
and Carterette, CIKM 2007). With ``clusters`` whole users are drawn and whole users change sign.

Shapes: R requests, U units (requests or users), M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.metric_frame import metric_columns, metric_matrix, num_requests
from interactrank.evaluation.stats.bootstrap import bootstrap_intervals, sum_by_unit

__all__ = ["PairedDifference", "compare_paired"]

_DRAWS = 1 << 22  # random signs held at once


class PairedDifference(NamedTuple):
    """How much higher the first model is than the second on the same requests.

    Attributes:
        difference: mean of first - second over the requests where both are defined.
        low: lower bound of its bootstrap interval.
        high: upper bound.
        p_value: two-sided, of the randomisation test; at least 1 / (permutations + 1).
        requests: how many requests both are defined for.
    """

    difference: float
    low: float
    high: float
    p_value: float
    requests: int


def compare_paired(
    first: Mapping[str, NDArray[Any]],
    second: Mapping[str, NDArray[Any]],
    metrics: Sequence[str] | None = None,
    *,
    key: str = "request_id",
    clusters: NDArray[Any] | None = None,
    resamples: int = 2000,
    permutations: int = 9999,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, PairedDifference]:
    """Compare two models request by request.

    Args:
        first: per-request frame of one model.
        second: of the other; the same requests in the same order.
        metrics: names; those that both frames have when left out.
        key: where both frames have this column, it must be equal row by row.
        clusters: [R] the user of each request, to treat users as the independent units.
        resamples: of the bootstrap interval.
        permutations: of the randomisation test.
        confidence: of the interval.
        seed: of all draws.

    Returns:
        ``{metric: PairedDifference}``, positive where ``first`` is higher.

    Raises:
        ValueError: the frames are not of the same requests.
        KeyError: a metric that one of them lacks.

    Example::

        >>> better = {"mrr": np.array([1.0, 1.0, 0.5, 0.5])}
        >>> worse = {"mrr": np.array([0.5, 1.0, 0.25, 0.25])}
        >>> result = compare_paired(better, worse)["mrr"]
        >>> result.difference, result.requests
        (0.25, 4)
    """
    rows = _check_same_requests(first, second, key)
    if metrics is None:
        metrics = [name for name in metric_columns(first) if name in metric_columns(second)]
    names = metric_columns(first, metrics)
    metric_columns(second, metrics)
    differences = metric_matrix(first, names) - metric_matrix(second, names)
    intervals = bootstrap_intervals(
        {name: differences[:, column] for column, name in enumerate(names)},
        clusters=clusters,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    sums, _ = sum_by_unit(differences, clusters, rows)
    p_values = _sign_flip_p_values(sums, permutations, seed)
    return {
        name: PairedDifference(
            difference=interval.value,
            low=interval.low,
            high=interval.high,
            p_value=float(p_value) if interval.requests else float("nan"),
            requests=interval.requests,
        )
        for (name, interval), p_value in zip(intervals.items(), p_values, strict=True)
    }


def _check_same_requests(
    first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]], key: str
) -> int:
    """Return the number of requests of both frames."""
    rows = num_requests(first)
    if num_requests(second) != rows:
        raise ValueError(
            f"the frames hold {rows} and {num_requests(second)} requests; the same ones are needed"
        )
    if key in first and key in second and not np.array_equal(first[key], second[key]):
        at = int((first[key] != second[key]).argmax())
        raise ValueError(
            f"row {at} is request {first[key][at]} in one frame and {second[key][at]} in the other; "
            f"sort both frames by {key!r}"
        )
    return rows


def _sign_flip_p_values(sums: NDArray[np.float64], permutations: int, seed: int) -> NDArray[np.float64]:
    """Two-sided p-value of each column of unit sums: [U, M] -> [M]."""
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}; at least 1 is needed")
    generator = np.random.default_rng(seed)
    # Sums that are equal in exact arithmetic must count as equal.
    observed = np.abs(sums.sum(axis=0)) - 1e-9 * np.abs(sums).sum(axis=0)
    step = max(1, _DRAWS // max(1, len(sums)))
    extreme = np.zeros(sums.shape[1])
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        signs = generator.integers(0, 2, size=(rows, len(sums)), dtype=np.int8).astype(np.float64) * 2 - 1
        extreme += (np.abs(signs @ sums) >= observed).sum(axis=0)
    return (1 + extreme) / (1 + permutations)
