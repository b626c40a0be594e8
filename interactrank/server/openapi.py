"""The OpenAPI document of a service, made of the declarations that validate its bodies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from interactrank.server.arrow_bodies import ARROW
from interactrank.server.served import Models
from interactrank.server.settings import ServerSettings
from interactrank.version import __version__

__all__ = ["openapi_document"]

_REFS = "#/components/schemas/{model}"


class ErrorDetail(BaseModel):
    """What is wrong with a request."""

    code: str
    field: str | None
    message: str


class Error(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class RankAnswer(BaseModel):
    """A ranking, the best first."""

    model: str
    version: str
    request_id: str
    time: int
    degraded: bool
    unknown: list[str]
    ids: list[str]
    scores: list[float]


class RecordAnswer(BaseModel):
    """What became of events."""

    events: int
    unknown: list[str]


class ItemsDone(BaseModel):
    """What became of items in a model."""

    version: str
    new: int
    changed: int


class ItemsAnswer(BaseModel):
    """What became of items."""

    models: dict[str, ItemsDone]


class Why(BaseModel):
    """The parts of a score; they add up to it."""

    score: float
    dot: float
    features: dict[str, float | None]
    correction: float
    bias: float
    raw: dict[str, float | None]
    support: dict[str, float | None]


class ExplainAnswer(RankAnswer):
    """A ranking with the parts of its scores."""

    explanations: list[Why]


def openapi_document(models: Models, settings: ServerSettings) -> dict[str, Any]:
    """Return the document, as JSON.

    Args:
        models: whose bodies it describes.
        settings: of the service.
    """
    schemas: dict[str, Any] = {}
    rank = _any_of([of.opened.bodies.rank for of in models], schemas)
    explain = _any_of([of.opened.bodies.explain for of in models], schemas)
    events = _any_of([next(iter(models)).opened.written.events], schemas)
    items = _any_of([of.opened.written.items for of in models], schemas)
    refused = (400, 413, 415, 421, 422, 503)
    writes = (400, 401, 403, 413, 415, 421, 422, 501, 503)
    return {
        "openapi": "3.1.0",
        "info": {"title": "interactrank", "version": __version__},
        "paths": {
            "/rank": _post(
                "rank candidates, or the whole catalogue", rank, RankAnswer, schemas, refused, ARROW
            ),
            "/explain": _post("rank, with the parts of each score", explain, ExplainAnswer, schemas, refused),
            "/events": _post(
                "record what was shown and engaged with", events, RecordAnswer, schemas, writes, secured=True
            ),
            "/items": _post(
                "add or replace items; ranked when this answers",
                items,
                ItemsAnswer,
                schemas,
                writes,
                secured=True,
            ),
            "/healthz": _get("whether the process answers"),
            "/readyz": _get("whether requests should come here", 503),
            "/version": _get("models, versions and shares"),
            "/metrics": _get("metrics for Prometheus", media_type="text/plain"),
            "/openapi.json": _get("this document"),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _post(
    summary: str,
    body: dict[str, Any],
    answer: type[BaseModel],
    schemas: dict[str, Any],
    refused: Iterable[int],
    *more_types: str,
    secured: bool = False,
) -> dict[str, Any]:
    """Return a path that takes a body."""
    binary: dict[str, Any] = {name: {"schema": {"type": "string", "format": "binary"}} for name in more_types}
    error = {"application/json": {"schema": _any_of([Error], schemas)}}
    success = {"application/json": {"schema": _any_of([answer], schemas)}, **binary}
    responses: dict[str, Any] = {"200": {"description": "done", "content": success}}
    responses |= {str(status): {"description": "refused", "content": error} for status in refused}
    content = {"application/json": {"schema": body}, **binary}
    operation = {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": responses,
    }
    return {"post": {**operation, "security": [{"token": []}, {}]} if secured else operation}


def _get(summary: str, *refused: int, media_type: str = "application/json") -> dict[str, Any]:
    """Return a path that is read."""
    responses: dict[str, Any] = {"200": {"description": "done", "content": {media_type: {}}}}
    responses |= {str(status): {"description": "refused"} for status in refused}
    return {"get": {"summary": summary, "responses": responses}}


def _any_of(kinds: list[type[BaseModel]], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to one of some declarations, which are added to ``schemas``."""
    for kind in kinds:
        found = kind.model_json_schema(ref_template=_REFS, by_alias=True)
        schemas |= found.pop("$defs", {})
        schemas[kind.__name__] = found
    refs = [{"$ref": _REFS.format(model=kind.__name__)} for kind in kinds]
    return refs[0] if len(refs) == 1 else {"anyOf": refs}
