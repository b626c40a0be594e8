"""The errors of sharding."""

from __future__ import annotations

from interactrank.core.errors import UserError

__all__ = ["PlanError", "ShardingError"]


class ShardingError(UserError, ValueError):
    """Tables, settings and ranks do not go together."""


class PlanError(ShardingError):
    """The tables cannot be laid out over the ranks."""
