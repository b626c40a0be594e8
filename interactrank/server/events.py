"""The endpoint of events: what was shown and engaged with, which counts in the next request."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from interactrank.server.answers import json_answer
from interactrank.server.failures import Refusal
from interactrank.server.served import Opened
from interactrank.server.service import Service
from interactrank.server.validation import JSON, content_type, invalid, read_body, validated
from interactrank.serving import RequestError
from interactrank.serving.fresh import RecordResult

__all__ = ["EventWriter"]


class EventWriter:
    """Records events for a service.

    Args:
        service: whose models read them: all of them the same log.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def record(self, request: Request) -> Response:
        """Keep events; the answer comes when no crash can lose them, and they count in every worker.

        Raises:
            Refusal: the service has no log, an event cannot be read, or the log cannot be written.
        """
        content_type(request, (JSON,))
        settings = self._service.settings
        body = await read_body(request, settings.limits.body_bytes)
        models = self._service.models
        opened = models.served[models.names[0]].opened
        rows = validated(opened.written.events, body).model_dump(by_alias=True)["events"]
        if settings.events is None:
            raise Refusal(
                501, "no_events", "this server keeps no events; start it with --events FOLDER or redis://..."
            )
        try:
            found = await asyncio.to_thread(self._keep, opened, rows)
        except RequestError as error:
            raise invalid("events", str(error)) from None
        except OSError as error:  # of the log of events, or of the request log
            raise Refusal(503, "not_kept", str(error), headers={"Retry-After": "1"}) from None
        self._service.metrics.events.inc(found.events)
        return json_answer({"events": found.events, "unknown": found.unknown})

    def _keep(self, opened: Opened, rows: list[dict[str, Any]]) -> RecordResult:
        """Keep rows in both logs; if one fails the client sends them again, and they count once."""
        found = opened.ranker.record(rows)
        if self._service.log is not None:
            self._service.log.came_back(rows)
        return found
