"""The routes of the page: its files, and what they ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interactrank.server.answers import json_answer
from interactrank.server.failures import Refusal
from interactrank.server.page.answers import Answers, Rankers
from interactrank.server.page.inputs import MOST_BYTES, read_search
from interactrank.serving import RequestError

__all__ = ["CONTENT_SECURITY_POLICY", "routes"]

Endpoint = Callable[[Request], Awaitable[Response]]

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def routes(
    rankers: Rankers, around: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint
) -> list[Route]:
    """Return the routes of the page, to be mounted at the root of an app.

    Args:
        rankers: returns the models by their names, each with the version that is served at the moment; the
            first is shown. One that is a two-tower model is shown next to it.
        around: what an app has around its endpoints, such as checks of access.
    """
    page, static = _Page(Answers(rankers)), _static()
    found = {f"/page/{name}": _file(static, name) for name in static if name != "index.html"}
    found |= {"/": _file(static, "index.html"), "/page/about": page.about}
    found |= {"/page/queries": page.queries, "/page/users": page.users}
    return [
        *(Route(path, around(endpoint), methods=["GET"]) for path, endpoint in found.items()),
        Route("/page/search", around(page.search), methods=["POST"]),
    ]


class _Page:
    """The endpoints that are not files."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def about(self, request: Request) -> Response:
        return await _answer(lambda: self._answers.about(_model(request)))

    async def queries(self, request: Request) -> Response:
        return await _answer(lambda: self._answers.queries(_model(request), _typed(request)))

    async def users(self, request: Request) -> Response:
        return await _answer(lambda: self._answers.users(_model(request), _typed(request)))

    async def search(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # so that a form of another site cannot ask
            return _refusal(415, "content_type", "content-type: must be application/json")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return _refusal(413, "too_large", f"body: more than {MOST_BYTES:,} bytes")
        return await _answer(lambda: self._answers.search(read_search(body)))


def _static() -> Mapping[str, bytes]:
    folder = files("interactrank.server.page") / "static"
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()}


def _file(static: Mapping[str, bytes], name: str) -> Endpoint:
    kind = KINDS["." + name.rpartition(".")[2]]

    async def answer(request: Request) -> Response:
        return Response(static[name], media_type=kind, headers=HEADERS)

    return answer


async def _answer(work: Callable[[], dict[str, Any]]) -> Response:
    try:
        return json_answer(await run_in_threadpool(work), headers=HEADERS)
    except RequestError as error:
        return _refusal(422, "invalid", str(error))


def _refusal(status: int, code: str, message: str) -> Response:
    return json_answer(Refusal(status, code, message).to_json(), status, HEADERS)


def _model(request: Request) -> str | None:
    return request.query_params.get("model") or None


def _typed(request: Request) -> str:
    return request.query_params.get("typed", "")[:200]
