"""The registry of metrics: the one place that says which there are, and how each is shown and compared.

A metric of one's own is a function in a module of one's own::

    def err(ranks: RelevantRanks) -> NDArray[np.float64]:
        ...

    register_metric(RankMetric(name="err", title="ERR", compute=err, headline=True))

It is then measured by ``evaluate``, by the validation during training and by ``ablate``, has intervals and
paired tests, and stands in the tables. The command line imports the modules that a config names in
``plugins``.

Shapes: R requests, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interactrank.core.registry import Registry
from interactrank.evaluation.predictions import Predictions

__all__ = [
    "METRICS",
    "Metric",
    "ProbabilityMetric",
    "RankMetric",
    "columns",
    "headline",
    "higher_is_better",
    "metric_of",
    "probability_metrics",
    "rank_metrics",
    "register_metric",
    "shown_name",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What every metric says of itself.

    Attributes:
        name: in ``metrics.json`` and in the columns of a frame, such as ``mrr``; lower-case.
        title: in tables and pictures, such as ``MRR``.
        higher_is_better: None where neither direction is, as for calibration.
        headline: whether the first table has it; for a metric with cut-offs, at which of them.
    """

    name: str
    title: str
    higher_is_better: bool | None = True
    headline: bool | tuple[int, ...] = False


@dataclass(frozen=True, kw_only=True)
class RankMetric(Metric):
    """A metric of each request, computed from the ranks of its relevant candidates.

    Attributes:
        compute: :class:`~interactrank.evaluation.ranks.RelevantRanks` of R requests (and a cut-off k, for a
            metric that has them) -> [R] float64, NaN where it is not defined.
        expected: the same arguments -> [R] the exact mean over all orders of tied candidates. When left out,
            the mean over random orders is taken. A metric whose ``compute`` has that mean already, as AUC
            does, gives it for both.
        ks: its cut-offs: None without, ``"settings"`` for those of ``evaluation.ks``, or its own.
    """

    compute: Callable[..., Floats]
    expected: Callable[..., Floats] | None = None
    ks: Literal["settings"] | tuple[int, ...] | None = None

    def cut_offs(self, ks: Sequence[int]) -> Sequence[int | None]:
        """Return the cut-offs of a run with ``evaluation.ks``; [None] without any."""
        if self.ks is None:
            return [None]
        return list(ks) if self.ks == "settings" else list(self.ks)

    def column(self, k: int | None) -> str:
        """Return the name of the column of one cut-off.

        Example::

            >>> METRICS["mrr"].column(None), METRICS["hit"].column(3)
            ('mrr', 'hit@3')
        """
        return self.name if k is None else f"{self.name}@{k}"


@dataclass(frozen=True, kw_only=True)
class ProbabilityMetric(Metric):
    """A metric of all predicted probabilities together, of a model whose score is the logit of one.

    Attributes:
        compute: predictions of C candidates and their weights ([C], or None for 1) -> the value; NaN where it
            is not defined.
    """

    compute: Callable[[Predictions, Floats | None], float]


METRICS: Registry[Metric] = Registry("metric")
"""All metrics by name, in the order of the tables."""


def register_metric(metric: Metric) -> Metric:
    """Add a metric to those that evaluation knows.

    Args:
        metric: a :class:`RankMetric` or a :class:`ProbabilityMetric`.

    Returns:
        ``metric``.

    Raises:
        RegistryError: the name is taken or cannot be one.
        ValueError: cut-offs below 1, or a headline at cut-offs of a metric without any.
    """
    headline_ks = metric.headline if isinstance(metric.headline, tuple) else ()
    own_ks = metric.ks if isinstance(metric, RankMetric) and isinstance(metric.ks, tuple) else ()
    if wrong := [k for k in (*headline_ks, *own_ks) if k < 1]:
        raise ValueError(f"metric '{metric.name}': cut-off {wrong[0]} is not allowed; k must be 1 or more")
    if headline_ks and getattr(metric, "ks", None) is None:
        raise ValueError(f"metric '{metric.name}' has no cut-offs; headline must be True or False")
    return METRICS.add(metric.name, metric)


def rank_metrics() -> list[RankMetric]:
    """Return the metrics of each request, in the order of the tables."""
    return [metric for metric in METRICS.values() if isinstance(metric, RankMetric)]


def probability_metrics() -> list[ProbabilityMetric]:
    """Return the metrics of all predictions together, in the order of the tables."""
    return [metric for metric in METRICS.values() if isinstance(metric, ProbabilityMetric)]


def columns(ks: Sequence[int]) -> list[str]:
    """Return the columns of all metrics of a request.

    Args:
        ks: cut-offs of a run, ``evaluation.ks``.

    Example::

        >>> columns([3])[:4]
        ['hit@3', 'mrr', 'ndcg@3', 'recall@3']
    """
    return [metric.column(k) for metric in rank_metrics() for k in metric.cut_offs(ks)]


def headline(available: Collection[str]) -> list[str]:
    """Return the columns that the first table shows.

    Args:
        available: columns that were measured.

    Returns:
        Those of them that are in the headline, in the order of the registry.

    Example::

        >>> headline(["map", "mrr", "hit@10", "hit@3", "hit@5"])
        ['hit@3', 'hit@10', 'mrr']
    """
    found = []
    for metric in rank_metrics():
        if metric.headline is True:
            found += [name for name in available if metric_of(name) is metric]
        elif metric.headline:
            found += [metric.column(k) for k in metric.headline if metric.column(k) in available]
    return found


def metric_of(column: str) -> Metric | None:
    """Return the metric of a column such as ``hit@3``; None for any other column."""
    name = column.partition("@")[0]
    return METRICS.get(name)


def higher_is_better(column: str) -> bool | None:
    """Return the direction of the metric of a column; of one that is not registered, higher is better.

    Example::

        >>> higher_is_better("hit@3"), higher_is_better("ne"), higher_is_better("calibration")
        (True, False, None)
    """
    metric = metric_of(column)
    return True if metric is None else metric.higher_is_better


def shown_name(column: str) -> str:
    """Return how tables call the metric of a column.

    Example::

        >>> shown_name("ndcg@10"), shown_name("ne"), shown_name("something")
        ('NDCG@10', 'NE', 'something')
    """
    metric = metric_of(column)
    return column if metric is None else metric.title + column[len(metric.name) :]
