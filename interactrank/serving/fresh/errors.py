"""Errors of logs of events."""

from __future__ import annotations

from interactrank.core.errors import UserError

__all__ = ["EventLogError"]


class EventLogError(UserError, OSError):
    """Events could not be kept, and count nowhere; or the log cannot be read. The message says why."""
