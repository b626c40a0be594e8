"""Watch: what hears of the stages of a request, for deadlines and for the times of the stages.

Shapes: C candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from interactrank.serving.ranking import Ranking

__all__ = ["STAGES", "UNWATCHED", "Watch"]

STAGES = ("read", "towers", "candidates", "dots", "cross_features", "best")
"""The stages of a request, in their order."""


class Watch(Protocol):
    """What a caller may know of a request while it is ranked."""

    def begin(self, stage: str) -> None:
        """Hear that one of :data:`STAGES` begins; the one before it has ended."""

    def goes_on(self, dots: Tensor, rank: Callable[[Tensor], Ranking]) -> bool:
        """Return whether cross features are added; if not, the dot products alone give the order.

        Args:
            dots: [C] weighted dot products, which change once this has returned.
            rank: makes of them, or of a copy, what could be answered now.
        """


class _Unwatched:
    def begin(self, stage: str) -> None:
        pass

    def goes_on(self, dots: Tensor, rank: Callable[[Tensor], Ranking]) -> bool:
        return True


UNWATCHED: Watch = _Unwatched()
"""Hears nothing and never stops."""
