"""Ranking: the result of a request, and Explanation: why an item is where it is.

Shapes: K results, F columns of cross features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Explanation", "Ranking"]


@dataclass(frozen=True)
class Explanation:
    """The parts of a score; they add up to it.

    Attributes:
        dot: of the two towers' vectors, with its weight.
        features: cross feature -> what it adds.
        correction: of the network over all cross features; 0 without one.
        bias: the same for all items.
        raw: cross feature -> its number before the model reads it; for a rate of impressions the engagements.
        support: cross feature -> the count that a share rests on, or the impressions of a rate.
    """

    dot: float
    features: dict[str, float]
    correction: float
    bias: float
    raw: dict[str, float] = field(default_factory=dict)
    support: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The sum of all parts."""
        return self.dot + sum(self.features.values()) + self.correction + self.bias


@dataclass(frozen=True)
class Ranking:
    """The best items of a request, the best first.

    Attributes:
        ids: [K] of the items.
        rows: [K] their rows in the catalogue.
        scores: [K] float32, falling; equal scores in order of rows.
        unknown: candidates that the catalogue does not have; they were ignored.
        explanations: of each result, or of the first ones; None if they were not asked for.
        degraded: the order is that of the dot products alone, because time was short.
    """

    ids: list[str]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    unknown: list[str]
    explanations: list[Explanation] | None = None
    degraded: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def to_json(self) -> dict[str, Any]:
        """Return ids, scores and unknown candidates in JSON's types."""
        return {"ids": self.ids, "scores": self.scores.tolist(), "unknown": self.unknown}
