"""The error of a log or a dataset that cannot be used."""

from __future__ import annotations

from interactrank.core.errors import UserError

__all__ = ["DatasetError"]


class DatasetError(UserError, ValueError):
    """A log that cannot be prepared, or a dataset that cannot be read; names file, column and remedy."""
