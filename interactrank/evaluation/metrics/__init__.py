"""Metrics: the registry, those that come with the package, and how a request is measured."""

from interactrank.evaluation.metrics.auc import pr_auc, request_auc, request_level_auc, roc_auc
from interactrank.evaluation.metrics.binned_auc import (
    BinnedCounts,
    binned_counts,
    binned_pr_auc,
    binned_roc_auc,
    binned_roc_pr_auc,
)
from interactrank.evaluation.metrics.builtin import register_builtin_metrics
from interactrank.evaluation.metrics.calibration import calibration_ratio, normalized_entropy
from interactrank.evaluation.metrics.measure import DEFAULT_KS, ranking_metrics, request_metrics
from interactrank.evaluation.metrics.recall import corpus_outranking, count_outranking, recall_at_k
from interactrank.evaluation.metrics.registry import (
    METRICS,
    Metric,
    ProbabilityMetric,
    RankMetric,
    headline,
    higher_is_better,
    metric_of,
    probability_metrics,
    rank_metrics,
    register_metric,
    shown_name,
)

__all__ = [
    "DEFAULT_KS",
    "METRICS",
    "BinnedCounts",
    "Metric",
    "ProbabilityMetric",
    "RankMetric",
    "binned_counts",
    "binned_pr_auc",
    "binned_roc_auc",
    "binned_roc_pr_auc",
    "calibration_ratio",
    "corpus_outranking",
    "count_outranking",
    "headline",
    "higher_is_better",
    "metric_of",
    "normalized_entropy",
    "pr_auc",
    "probability_metrics",
    "rank_metrics",
    "ranking_metrics",
    "recall_at_k",
    "register_metric",
    "request_auc",
    "request_level_auc",
    "request_metrics",
    "roc_auc",
    "shown_name",
]

register_builtin_metrics()
