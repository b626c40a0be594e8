"""The application: its routes, and what happens around each request: access, errors, times and logs."""

from __future__ import annotations

import logging
import os
import traceback
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from interactrank.core.errors import UserError
from interactrank.server import page
from interactrank.server.access import Access
from interactrank.server.answers import json_answer
from interactrank.server.events import EventWriter
from interactrank.server.failures import Refusal
from interactrank.server.items import ItemWriter
from interactrank.server.ranking import Ranker
from interactrank.server.request_times import log_slow
from interactrank.server.service import Service
from interactrank.server.settings import TOKEN, ServerSettings

__all__ = ["make_app"]

logger = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(settings: ServerSettings, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Open the exports of a service and return its application.

    Args:
        settings: of the service.
        routes: more of them.

    Raises:
        ArtifactError: an export cannot be opened.
    """
    service = Service(settings)
    access = Access(os.environ.get(TOKEN), settings.host)
    around = _Around(service, access)
    ranker = Ranker(service)
    own = [
        Route("/rank", around(ranker.rank), methods=["POST"]),
        Route("/explain", around(ranker.explain), methods=["POST"]),
        Route("/items", around(ItemWriter(service).write, writes=True), methods=["POST"]),
        Route("/events", around(EventWriter(service).record, writes=True), methods=["POST"]),
        Route("/healthz", around(service.health), methods=["GET"]),
        Route("/readyz", around(service.ready), methods=["GET"]),
        Route("/version", around(service.versions), methods=["GET"]),
        Route("/metrics", around(service.metrics_text), methods=["GET"]),
        Route("/openapi.json", around(service.openapi), methods=["GET"]),
        *page.routes(lambda: {served.name: served.opened.ranker for served in service.models}, around),
    ]
    handlers: Any = {HTTPException: _http_error}
    app = Starlette(routes=[*own, *routes], exception_handlers=handlers, lifespan=service.lifespan)
    app.state.service = service
    return app


class _Around:
    """What every endpoint has around it."""

    def __init__(self, service: Service, access: Access) -> None:
        self._service, self._access = service, access

    def __call__(self, endpoint: Endpoint, *, writes: bool = False) -> Endpoint:
        """Return the endpoint with it.

        Args:
            endpoint: answers, or raises a refusal.
            writes: whether it needs the token.
        """
        settings, metrics = self._service.settings, self._service.metrics

        async def answer(request: Request) -> Response:
            path = request.scope["path"]
            progress = request.state.progress = self._service.lane.progress(settings.limits.timeout_ms)
            request.state.facts = {}
            try:
                self._access.check_host(request.headers.get("host", ""))
                if writes:
                    self._access.check_write(request)
                response = await endpoint(request)
            except Refusal as refusal:
                response = json_answer(refusal.to_json(), refusal.status, refusal.headers)
            except ClientDisconnect:
                response = Response(status_code=499)
            except UserError as error:
                response = json_answer(Refusal(422, "invalid", str(error)).to_json(), 422)
            except Exception as error:
                place = uuid.uuid4().hex[:12]
                # Without its message, which may quote what the user wrote.
                where = "".join(traceback.format_tb(error.__traceback__))
                logger.error(
                    "request failed, told the client as %s: %s\n%s", place, type(error).__name__, where
                )
                failure = Refusal(500, "internal", f"an error of the server, in its log as {place}")
                response = json_answer(failure.to_json(), 500)
            seconds = progress.taken
            metrics.requests.labels(path, response.status_code).inc()
            metrics.waiting.set(self._service.lane.waiting)
            metrics.seconds.labels(path).observe(seconds)
            if seconds * 1000 > settings.slow_ms:
                log_slow(path, response.status_code, progress, request.state.facts)
            return response

        return answer


async def _http_error(request: Request, error: HTTPException) -> Response:
    """Answer an unknown path or method as everything else is answered."""
    code = {404: "not_found", 405: "method"}.get(error.status_code, "http")
    allowed = (error.headers or {}).get("Allow")
    message = f"{request.method} is not one of {allowed}" if allowed else f"{error.detail}; see /openapi.json"
    return json_answer(
        Refusal(error.status_code, code, message).to_json(), error.status_code, dict(error.headers or {})
    )
