"""The bodies of requests to one export, as pydantic models: they validate, and OpenAPI is made of them.

What a request may hold depends on the export's schema, so the models are made of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, create_model

from interactrank.data.raw.staged_columns import event_columns, user_columns
from interactrank.schema import SearchSchema
from interactrank.server.settings import Limits
from interactrank.serving.live_requests import SESSION_START
from interactrank.serving.live_sequences import SEQUENCE

__all__ = ["LAST_MOMENT", "Bodies", "Body", "bodies_of", "object_of", "type_of"]

LAST_MOMENT = 253_402_300_799_999  # milliseconds of the year 9999, the last of a datetime
_NAMES = frozenset(dir(BaseModel))


class Body(BaseModel):
    """The base of all bodies: unknown names are refused, and no type is made of another."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=(), populate_by_name=True
    )


class Bodies(NamedTuple):
    """The bodies of one export.

    Args:
        columns: of the object ``request``.
        rank: of ``/rank``.
        ranked_columns: of ``/rank`` without what comes as columns of an Arrow stream.
        explain: of ``/explain``.
    """

    columns: type[Body]
    rank: type[Body]
    ranked_columns: type[Body]
    explain: type[Body]


def bodies_of(schema: SearchSchema, limits: Limits, fields: list[str], title: str) -> Bodies:
    """Return the bodies of requests to an export.

    Args:
        schema: of the export.
        limits: of the service.
        fields: of items, by whose values they can be chosen.
        title: what the OpenAPI document calls the export.
    """
    columns = _columns(schema, limits, title)
    text: Any = Annotated[str, Field(max_length=limits.text)]
    number: Any = float | None
    value: Any = Annotated[list[text | int | float], Field(max_length=limits.candidates)]
    ids: Any = Annotated[list[text], Field(max_length=limits.candidates)]
    parts: dict[str, Any] = {
        "request": (columns, Field(description="the search: columns of the log's events file")),
        "candidates": (ids | None, Field(None, description="ids of the items to rank; null for all items")),
        "filters": (
            create_model(
                f"Filters_{title}",
                __base__=Body,
                allowed=(ids | None, Field(None, description="ids of the only items that may be results")),
                blocked=(ids, Field(default_factory=list, description="ids of items that may not")),
                where=(object_of(f"Where_{title}", dict.fromkeys(fields, (value | None, None))), None),
            )
            | None,
            Field(None, description="which items may be results"),
        ),
        "head_weights": (
            object_of(f"HeadWeights_{title}", dict.fromkeys(schema.head_names, (number, None))) | None,
            Field(None, description="weight of each head in the score; those of the export when left out"),
        ),
        "model": (
            Literal[title] | None,
            Field(None, description="which model answers; by the user when left out"),
        ),
        "timeout_ms": (
            Annotated[int, Field(ge=1, le=limits.timeout_ms)] | None,
            Field(None, description="answer after this time with what is ready"),
        ),
    }
    if candidate := schema.features.candidate:
        numbers = Annotated[list[number], Field(max_length=limits.candidates)]
        ids_or_numbers = Annotated[list[text | int | None], Field(max_length=limits.candidates)]
        given = {f.name: (numbers if f.kind == "number" else ids_or_numbers, ...) for f in candidate}
        parts["features"] = (object_of(f"Features_{title}", given), Field(description="of each candidate"))
        parts["candidates"] = (ids, Field(description="ids of the items to rank"))

    def k(most: int, usual: int) -> tuple[Any, Any]:
        return Annotated[int, Field(ge=1, le=most)], Field(min(usual, most), description="results at most")

    rank = create_model(f"Rank_{title}", __base__=Body, k=k(limits.k, 100), **parts)
    explain = create_model(f"Explain_{title}", __base__=Body, k=k(limits.explained, 10), **parts)
    rest = {name: part for name, part in parts.items() if name not in ("candidates", "features")}
    ranked_columns = create_model(f"RankColumns_{title}", __base__=Body, k=k(limits.k, 100), **rest)
    return Bodies(columns, rank, ranked_columns, explain)


def _columns(schema: SearchSchema, limits: Limits, title: str) -> type[Body]:
    """Return the model of the object ``request``."""
    e = schema.events
    text = Annotated[str, Field(max_length=limits.text)]
    moment = Annotated[int, Field(ge=0, le=LAST_MOMENT)] | datetime
    fields: dict[str, Any] = {e.query: (text, ...)}
    for name in event_columns(schema):
        fields[name] = (type_of(schema, name, "events", limits), ...)
    identity = text | int | None
    for who in (e.user, e.session):
        if who is not None and who not in fields:
            fields[who] = (identity, None)
    if e.time not in fields:
        described = Field(None, description="milliseconds since 1970, or a text such as 2024-05-01T12:00:00Z")
        fields[e.time] = (moment | None, described)
    for name in user_columns(schema) if schema.users is not None else []:
        fields.setdefault(name, (type_of(schema, name, "users", limits), None))
    if schema.sequence is not None:
        engagement: Any = Literal[tuple(schema.sequence_engagements)]
        event = create_model(
            f"Event_{title}",
            __base__=Body,
            item=(text | int, ...),
            engagement=(engagement, ...),
            time=(moment, ...),
            query=(text | None, None),
        )
        described = Field(None, description="the user's last engagements, instead of those of the log")
        fields[SEQUENCE] = (Annotated[list[event], Field(max_length=limits.sequence)] | None, described)
        if schema.sequence.end == "session":
            fields[SESSION_START] = (moment | None, None)
    return object_of(f"Request_{title}", fields)


def type_of(schema: SearchSchema, name: str, file: str, limits: Limits) -> Any:
    """Return the type of a column: that of the feature that reads it, else that of a segment."""
    text = Annotated[str, Field(max_length=limits.text)]
    for f in schema.features.request:
        if f.column == name and (f.file or "events") == file:
            if f.kind == "number":
                return float | bool | None
            if f.kind == "vector":
                return Annotated[list[float], Field(min_length=f.dim, max_length=f.dim)] | None
            if f.kind == "id":
                return text | int | Annotated[list[text], Field(max_length=limits.sequence)] | None
            return text | None
    return text | int | None


def object_of(title: str, fields: dict[str, Any]) -> type[Body]:
    """Return a model with fields of any names; pydantic refuses some, which become aliases."""
    made: dict[str, Any] = {}
    for n, (name, (kind, default)) in enumerate(fields.items()):
        if name.isidentifier() and not name.startswith("_") and name not in _NAMES:
            made[name] = (kind, default)
        else:
            made[f"column_{n}"] = (Annotated[kind, Field(alias=name)], default)
    return create_model(title, __base__=Body, **made)
