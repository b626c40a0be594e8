"""Histories as of now: events that are recorded while an export is served."""

from interactrank.serving.fresh.errors import EventLogError
from interactrank.serving.fresh.fresh import Fresh, RecordResult

__all__ = ["EventLogError", "Fresh", "RecordResult"]
