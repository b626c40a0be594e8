"""Losses, each trick its own small piece: they return a loss per row; the caller reduces."""

from interactrank.modules.losses.count_min_sketch import CountMinSketch
from interactrank.modules.losses.duplicates import Merged, merge_duplicates
from interactrank.modules.losses.elementwise import binary_focal_loss, weighted_bce
from interactrank.modules.losses.gather import gather_rows, gather_rows_with, gather_sizes
from interactrank.modules.losses.hard_negatives import HardNegativeMining
from interactrank.modules.losses.labels import HeadRule, PriorityLabels
from interactrank.modules.losses.listwise_softmax import ListwiseSoftmax, mean_over_positive
from interactrank.modules.losses.log_q import LogQ, log_batch_probability
from interactrank.modules.losses.masks import AccidentalHits, Negatives
from interactrank.modules.losses.rank_counts import RankCounts
from interactrank.modules.losses.reduce import HeadWeighting, global_mean
from interactrank.modules.losses.sampled_softmax import SampledSoftmax
from interactrank.modules.losses.temperature import Temperature

__all__ = [
    "AccidentalHits",
    "CountMinSketch",
    "HardNegativeMining",
    "HeadRule",
    "HeadWeighting",
    "ListwiseSoftmax",
    "LogQ",
    "Merged",
    "Negatives",
    "PriorityLabels",
    "RankCounts",
    "SampledSoftmax",
    "Temperature",
    "binary_focal_loss",
    "gather_rows",
    "gather_rows_with",
    "gather_sizes",
    "global_mean",
    "log_batch_probability",
    "mean_over_positive",
    "merge_duplicates",
    "weighted_bce",
]
