"""The errors of ranks."""

from __future__ import annotations

from interactrank.core.errors import UserError

__all__ = ["ProcessGroupError", "RankError"]


class ProcessGroupError(UserError, RuntimeError):
    """The ranks of a job cannot form a process group as they were started."""


class RankError(UserError, RuntimeError):
    """Another rank failed; the message names it and says why."""
