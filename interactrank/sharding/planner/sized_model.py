"""A model without weights and what its training needs: the input of a plan for another cluster."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from interactrank.sharding.planner.constraints import Load

__all__ = ["SizedModel"]


@dataclass(frozen=True)
class SizedModel:
    """A model without weights, and what its training needs.

    Attributes:
        model: on the ``meta`` device, whatever the size of its tables.
        loads: table -> what a step asks of it on each rank.
        dense_bytes: weights, gradients and Adam's two moments of the dense parameters, on each rank.
    """

    model: nn.Module
    loads: dict[str, Load]
    dense_bytes: int
