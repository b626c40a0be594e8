"""What a difference of metrics is worth: bootstrap intervals, paired tests, Holm's correction."""

from interactrank.evaluation.stats.bootstrap import Interval, bootstrap_intervals
from interactrank.evaluation.stats.holm import holm
from interactrank.evaluation.stats.paired import PairedDifference, compare_paired

__all__ = ["Interval", "PairedDifference", "bootstrap_intervals", "compare_paired", "holm"]
