"""Service: what the endpoints of a worker share, and the endpoints that tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from interactrank.server.answers import json_answer
from interactrank.server.failures import Refusal
from interactrank.server.lane import Lane
from interactrank.server.metrics import Metrics
from interactrank.server.openapi import openapi_document
from interactrank.server.request_log import RequestLog
from interactrank.server.served import Models
from interactrank.server.settings import ServerSettings
from interactrank.version import __version__

__all__ = ["Service"]


class Service:
    """One worker of a service.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.models = Models(settings.models, settings.limits, settings.events)
        self.lane = Lane(settings.limits.queue)
        self.metrics = Metrics()
        self.log: RequestLog | None = None
        if settings.log is not None:
            first = self.models.served[self.models.names[0]]
            schema = first.opened.ranker.schema

            def record(rows: list[dict[str, Any]]) -> None:
                first.opened.ranker.record(rows)

            counts = settings.events is not None and schema.events.impressions
            self.log = RequestLog(
                settings.log.folder, schema, settings.log.rotate_s, record if counts else None
            )
        self.is_ready = False

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Be ready between start and end of the worker, and look for new versions."""
        watcher = asyncio.create_task(self._watch())
        self.is_ready = True
        yield
        self.is_ready = False
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        self.lane.close()
        if self.log is not None:
            self.log.close()

    async def _watch(self) -> None:
        """Switch to new versions as they are published; a thread opens them, while requests go on."""
        while True:
            await asyncio.sleep(self.settings.poll_ms / 1000)
            for served in self.models:
                if served.is_behind():
                    result = await asyncio.to_thread(served.swap)
                    self.metrics.swaps.labels(served.name, result).inc()

    async def health(self, request: Request) -> Response:
        """Say that the process answers."""
        return json_answer({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Say whether requests should come here.

        Raises:
            Refusal: not now.
        """
        if not self.is_ready:
            raise Refusal(503, "not_ready", "the worker starts or ends", headers={"Retry-After": "1"})
        return json_answer({"status": "ready"})

    async def versions(self, request: Request) -> Response:
        """Say which models answer, in which version and for which share of the users."""
        total = sum(of.share for of in self.settings.models.values())
        found = {
            served.name: {
                "version": served.opened.version,
                "event_time": served.opened.ranker.version.event_time,
                "items": len(served.opened.ranker.ids),
                "share": self.settings.models[served.name].share / total,
                "refused": served.refused,
            }
            for served in self.models
        }
        return json_answer({"interactrank": __version__, "models": found})

    async def metrics_text(self, request: Request) -> Response:
        """Return the metrics for Prometheus."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document."""
        return json_answer(openapi_document(self.models, self.settings))
