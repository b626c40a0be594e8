"""Errors of serving."""

from __future__ import annotations

from interactrank.core.errors import UserError

__all__ = ["ArtifactError", "RequestError"]


class ArtifactError(UserError, ValueError):
    """An export that cannot be written or opened; the message says what is wrong with it."""


class RequestError(UserError, ValueError):
    """A request that cannot be ranked; the message names what is wrong in it."""
