"""Scorer: what an evaluation can rank with.

Shapes: R requests, N items of the catalogue, C candidates.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from interactrank.cross_features.jagged import Jagged
from interactrank.data.loading.prepared_requests import PreparedRequests

__all__ = ["ProbabilityScorer", "Scorer"]


class Scorer(Protocol):
    """Scores the candidates of requests; higher is better."""

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return [C] float32 scores of the candidates; [R, N] of the whole catalogue if they are None."""


@runtime_checkable
class ProbabilityScorer(Scorer, Protocol):
    """A scorer whose scores may stand for probabilities of an engagement with a shown candidate."""

    def probabilities(self, scores: Tensor) -> Tensor | None:
        """Return the probabilities that some of its scores stand for, of one shape; None if they do not."""
