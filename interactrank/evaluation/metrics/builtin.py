"""The metrics that come with the package, in the order of the tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.metrics import auc, calibration, rank
from interactrank.evaluation.metrics.registry import ProbabilityMetric, RankMetric, register_metric
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.ranks import RelevantRanks

__all__ = ["register_builtin_metrics"]

Floats = NDArray[np.float64]


def register_builtin_metrics() -> None:
    """Register HIT, MRR, NDCG, recall, AUC and MAP of requests; NE, calibration and PR-AUC of predictions."""
    for metric in (
        RankMetric(
            name="hit",
            title="HIT",
            compute=rank.hit,
            expected=rank.expected_hit,
            ks="settings",
            headline=(3, 10),
        ),
        RankMetric(name="mrr", title="MRR", compute=rank.mrr, expected=rank.expected_mrr, headline=True),
        RankMetric(
            name="ndcg",
            title="NDCG",
            compute=rank.ndcg,
            expected=rank.expected_ndcg,
            ks="settings",
            headline=(10,),
        ),
        RankMetric(
            name="recall",
            title="Recall",
            compute=rank.recall,
            expected=rank.expected_recall,
            ks="settings",
            headline=(100,),
        ),
        # A tie counts one half, which is the mean over its orders.
        RankMetric(name="auc", title="AUC", compute=_auc, expected=_auc, headline=True),
        RankMetric(
            name="map",
            title="MAP",
            compute=rank.average_precision,
            expected=rank.expected_average_precision,
        ),
        ProbabilityMetric(name="ne", title="NE", compute=_ne, higher_is_better=False),
        ProbabilityMetric(
            name="calibration", title="Calibration", compute=_calibration, higher_is_better=None
        ),
        ProbabilityMetric(name="pr_auc", title="PR-AUC", compute=_pr_auc),
    ):
        register_metric(metric)


def _auc(ranks: RelevantRanks) -> Floats:
    return auc.request_auc(ranks)[0]


def _ne(predictions: Predictions, weights: Floats | None) -> float:
    return calibration.normalized_entropy(predictions.probability, predictions.label, weights)


def _calibration(predictions: Predictions, weights: Floats | None) -> float:
    return calibration.calibration_ratio(predictions.probability, predictions.label, weights)


def _pr_auc(predictions: Predictions, weights: Floats | None) -> float:
    return auc.pr_auc(predictions.probability, predictions.label, weights)
