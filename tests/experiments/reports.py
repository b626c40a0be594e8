"""A report of an ablation whose numbers are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from interactrank.evaluation.metric_frame import MetricFrame
from interactrank.experiments.report import ablation_report
from interactrank.experiments.variants import Variant, ablation_grid, select
from interactrank.runs.config import RunConfig
from tests.trained import config

NAMES = ("bm25", "plain_two_tower", "full", "full_without_iqp", "full_without_mask_net")
HITS = {"bm25": 20, "plain_two_tower": 50, "full": 80, "full_without_iqp": 50, "full_without_mask_net": 79}
REQUESTS = 100
DATA = {"split": "test", "candidates": "logged", "requests": REQUESTS, "ranked": REQUESTS}


def table(hits: int) -> MetricFrame:
    """The first requests hit at rank 1, the others at rank 5."""
    rank = np.where(np.arange(REQUESTS) < hits, 1, 5)
    return {
        "request_index": np.arange(REQUESTS),
        "relevant": np.ones(REQUESTS, np.int64),
        "hit@3": (rank <= 3).astype(float),
        "hit@10": np.ones(REQUESTS),
        "mrr": 1 / rank,
        "auc": np.full(REQUESTS, np.nan),
    }


def variants(base: RunConfig, *names: str) -> list[Variant]:
    """Those models of the grid."""
    return select(ablation_grid(base), names)


def report(*names: str, hits: dict[str, int] = HITS, **options: Any) -> dict[str, Any]:
    """Of two seeds for each trained model: one with two hits fewer and one with two more than ``hits``."""
    base = config()
    models = variants(base, *(names or NAMES))
    tables = {
        r.name: {0: table(hits[r.name] - 2), 1: table(hits[r.name] + 2)} if r.trained else {0: table(20)}
        for r in models
    }
    return ablation_report(base, models, tables, **{"users": None, "data": DATA, **options})
