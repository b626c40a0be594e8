"""Bodies of requests: bounded while they are read, then validated by the declarations of the export."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from interactrank.core.settings import error_lines
from interactrank.server.failures import Refusal

__all__ = ["JSON", "choice_of", "content_type", "invalid", "read_body", "validated"]

JSON = "application/json"
BodyT = TypeVar("BodyT", bound=BaseModel)


async def read_body(request: Request, most: int) -> bytes:
    """Return the body.

    Args:
        request: of HTTP.
        most: bytes that it may have.

    Raises:
        Refusal: it has more.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return b"".join(parts)


def content_type(request: Request, allowed: tuple[str, ...]) -> str:
    """Return the type of the body.

    Raises:
        Refusal: it is none that is allowed.
    """
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in allowed:
        raise Refusal(415, "content_type", f"content-type: send {' or '.join(allowed)}, found '{found}'")
    return found


def choice_of(body: bytes) -> tuple[str | None, dict[str, Any]]:
    """Return the name of the model that a body asks for, and its request, before either is validated."""
    try:
        found = orjson.loads(body)
    except ValueError:
        return None, {}
    if not isinstance(found, dict):
        return None, {}
    name, request = found.get("model"), found.get("request")
    return name if isinstance(name, str) else None, request if isinstance(request, dict) else {}


def validated(kind: type[BodyT], body: bytes) -> BodyT:
    """Return a body as what it is declared to be.

    Raises:
        Refusal: the body is something else; names the first field that is wrong.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(kind, error, body) from None


def invalid(field: str, message: str) -> Refusal:
    """Return the answer to a field that cannot be used."""
    return Refusal(422, "invalid", message, field)


def _refusal(kind: type[BaseModel], error: ValidationError, body: bytes) -> Refusal:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return Refusal(400, "not_json", f"the body is not JSON: {first['ctx']['error']}")
    place, value = [], orjson.loads(body)
    for part in first["loc"]:  # behind the body's own names come those of the types that were tried
        is_inside = isinstance(value, dict) or (isinstance(value, list) and isinstance(part, int))
        if not is_inside:
            break
        place.append(str(part))
        value = value.get(part) if isinstance(value, dict) else value[int(part)]
    lines = error_lines(kind, error) or [str(first["msg"])]
    return invalid(".".join(place), lines[0])


def _too_large(most: int) -> Refusal:
    return Refusal(413, "too_large", f"the body has more than {most:,} bytes; send less at a time")
