"""Eviction: which values keep a row of a managed table.

Shapes: U distinct ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from interactrank.core.managed_ids import bucket_problem


@dataclass(frozen=True, kw_only=True)
class Eviction:
    """Policy by which values keep a row of a managed table, and how often rows change.

    Args:
        policy: ``"lfu"`` keeps the most frequent values, ``"lru"`` those that came last, ``"distance_lfu"``
            those with the most look-ups for each step since they came last.
        interval: training steps between two changes of rows.
        buckets: equal parts of the table, each for an equal share of all ids. Ranks hold whole buckets.

    Example::

        >>> import torch
        >>> count, seen = torch.tensor([8, 2]), torch.tensor([1, 10])
        >>> Eviction(policy="distance_lfu").score(count, seen, step=10)  # 8 / 10 and 2 / 1
        tensor([0.8000, 2.0000], dtype=torch.float64)
    """

    policy: Literal["lfu", "lru", "distance_lfu"] = "lfu"
    interval: int = 100
    buckets: int = 8

    def problems(self, rows: int) -> list[str]:
        """Return what a table of ``rows`` rows does not allow; empty if all is well."""
        interval = f"interval is {self.interval}; it must be at least 1" if self.interval < 1 else None
        found = [interval, bucket_problem(rows=rows, buckets=self.buckets)]
        return [problem for problem in found if problem is not None]

    def score(self, count: Tensor, seen: Tensor, *, step: int) -> Tensor:
        """Return [U] scores; the values with the highest ones keep a row.

        Args:
            count: [U] int64, look-ups in training.
            seen: [U] int64, the step of the last one.
            step: the step that training is at.
        """
        if self.policy == "lfu":
            return count
        if self.policy == "lru":
            return seen
        return count.double() / (step - seen + 1)
