"""Ranking metrics, their intervals and tests, slices, calibration, gathering over ranks, and reports.

Everything passes through one table, a row per request (:mod:`interactrank.evaluation.table`).
"""

from interactrank.evaluation.accumulate import gather_table, sort_table
from interactrank.evaluation.auc import pr_auc, request_level_auc, roc_auc
from interactrank.evaluation.binned_auc import (
    BinnedCounts,
    binned_counts,
    binned_pr_auc,
    binned_roc_auc,
    binned_roc_pr_auc,
)
from interactrank.evaluation.calibration import CalibrationMeter
from interactrank.evaluation.intervals import Interval, bootstrap_intervals
from interactrank.evaluation.paired import PairedDifference, compare_paired
from interactrank.evaluation.plots import plot_comparison, plot_training_curves
from interactrank.evaluation.ranking import DEFAULT_KS, ranking_metrics, request_auc, request_metrics
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates, ranks_of_relevant
from interactrank.evaluation.recall import corpus_outranking, count_outranking, recall_at_k
from interactrank.evaluation.report import (
    best_models,
    metrics_table,
    print_metrics,
    versions,
    write_metrics_json,
)
from interactrank.evaluation.slices import (
    Slice,
    SliceMetrics,
    length_slice,
    metrics_by_slice,
    per_user_means,
    query_frequency_slice,
    seen_query_slice,
    segment_slice,
)
from interactrank.evaluation.table import (
    RequestTable,
    concatenate_tables,
    count_requests,
    metric_columns,
    num_requests,
    select_requests,
    table_means,
)

__all__ = [
    "DEFAULT_KS",
    "BinnedCounts",
    "CalibrationMeter",
    "Interval",
    "PairedDifference",
    "RelevantRanks",
    "RequestTable",
    "Slice",
    "SliceMetrics",
    "best_models",
    "binned_counts",
    "binned_pr_auc",
    "binned_roc_auc",
    "binned_roc_pr_auc",
    "bootstrap_intervals",
    "compare_paired",
    "concatenate_tables",
    "corpus_outranking",
    "count_outranking",
    "count_requests",
    "gather_table",
    "length_slice",
    "metric_columns",
    "metrics_by_slice",
    "metrics_table",
    "num_requests",
    "per_user_means",
    "plot_comparison",
    "plot_training_curves",
    "pr_auc",
    "print_metrics",
    "query_frequency_slice",
    "ranking_metrics",
    "ranks_of_candidates",
    "ranks_of_relevant",
    "recall_at_k",
    "request_auc",
    "request_level_auc",
    "request_metrics",
    "roc_auc",
    "seen_query_slice",
    "segment_slice",
    "select_requests",
    "sort_table",
    "table_means",
    "versions",
    "write_metrics_json",
]
