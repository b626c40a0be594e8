"""Log lines about requests: JSON for machines, without anything that the user wrote or is called."""

from __future__ import annotations

import logging
from typing import Any

import orjson

from interactrank.server.progress import Progress

__all__ = ["log_event", "log_slow"]

logger = logging.getLogger("interactrank.server.requests")


def log_slow(path: str, status: int, progress: Progress, facts: dict[str, Any]) -> None:
    """Write a line about a slow request, with the milliseconds of each stage.

    Args:
        path: of the request.
        status: of the answer.
        progress: of the request.
        facts: numbers and versions; nothing of the user.
    """
    stages = {name: round(seconds * 1000, 3) for name, seconds in progress.stages.items()}
    took = round(progress.taken * 1000, 3)
    log_event("slow_request", path=path, status=status, ms=took, stages_ms=stages, **facts)


def log_event(event: str, **facts: Any) -> None:
    """Write a line of JSON."""
    logger.info("%s", orjson.dumps({"event": event, **facts}, default=str).decode())
