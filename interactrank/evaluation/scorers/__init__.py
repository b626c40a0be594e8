"""Scorers: what an evaluation can rank with. A model, BM25, counts, the truth, one's own."""

from interactrank.evaluation.scorers.bm25 import Bm25Scorer
from interactrank.evaluation.scorers.counts import CountScorer
from interactrank.evaluation.scorers.ctr import CtrScorer
from interactrank.evaluation.scorers.lambdamart import LambdaMartScorer
from interactrank.evaluation.scorers.model import CrossBlock, ModelScorer
from interactrank.evaluation.scorers.protocol import ProbabilityScorer, Scorer
from interactrank.evaluation.scorers.registry import BASELINES, Baseline, register_baseline
from interactrank.evaluation.scorers.touched import TouchedScorer
from interactrank.evaluation.scorers.true_probability import TrueProbabilityScorer

__all__ = [
    "BASELINES",
    "Baseline",
    "Bm25Scorer",
    "CountScorer",
    "CrossBlock",
    "CtrScorer",
    "LambdaMartScorer",
    "ModelScorer",
    "ProbabilityScorer",
    "Scorer",
    "TouchedScorer",
    "TrueProbabilityScorer",
    "register_baseline",
]
