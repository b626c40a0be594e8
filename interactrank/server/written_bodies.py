"""The bodies of what writes, as pydantic models: rows of the log's events file, and of its items file."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import Field, create_model

from interactrank.data.raw.staged_columns import event_columns, item_columns
from interactrank.schema import SearchSchema
from interactrank.server.bodies import LAST_MOMENT, Body, object_of, type_of
from interactrank.server.settings import Limits

__all__ = ["WrittenBodies", "written_bodies_of"]


class WrittenBodies(NamedTuple):
    """The bodies of one export.

    Args:
        events: of ``/events``.
        items: of ``/items``.
    """

    events: type[Body]
    items: type[Body]


def written_bodies_of(schema: SearchSchema, limits: Limits, title: str) -> WrittenBodies:
    """Return the bodies of what is written to an export.

    Args:
        schema: of the export.
        limits: of the service.
        title: what the OpenAPI document calls the export.
    """
    event, item = _event(schema, limits, title), _item(schema, limits, title)
    events = Annotated[list[event], Field(min_length=1, max_length=limits.events)]  # type: ignore[valid-type]
    items = Annotated[list[item], Field(min_length=1, max_length=limits.items)]  # type: ignore[valid-type]
    return WrittenBodies(
        create_model(f"Events_{title}", __base__=Body, events=(events, ...)),
        create_model(f"Items_{title}", __base__=Body, items=(items, ...)),
    )


def _event(schema: SearchSchema, limits: Limits, title: str) -> type[Body]:
    """Return the model of a row of the events file; what is left out is not known, or did not happen."""
    e = schema.events
    text: Any = Annotated[str, Field(min_length=1, max_length=limits.text)]
    moment: Any = Annotated[int, Field(ge=0, le=LAST_MOMENT)] | datetime
    fields: dict[str, Any] = {
        e.query: (Annotated[str, Field(min_length=1, max_length=limits.text, pattern=r"\S")], ...),
        e.item: (text | int, ...),
        e.time: (moment, Field(description="of the request; an answer of /rank has it as time")),
    }
    for name in (e.user, e.request):
        if name is not None:
            fields[name] = (text | int, ...)
    if e.session is not None:
        fields[e.session] = (text | int | None, None)
    if e.event_time is not None:
        fields[e.event_time] = (moment | None, Field(None, description="of the engagement"))
    if e.position is not None:
        fields[e.position] = (Annotated[int, Field(ge=0, le=limits.candidates)] | None, None)
    count: Any = Annotated[int, Field(ge=0, le=1_000_000)]
    for name in e.engagements.values():
        fields.setdefault(name, (count, 0))
    if e.impression_column is not None:
        fields.setdefault(e.impression_column, (count, 0))
    for name in event_columns(schema):
        fields.setdefault(name, (type_of(schema, name, "events", limits), None))
    return object_of(f"LogEvent_{title}", fields)


def _item(schema: SearchSchema, limits: Limits, title: str) -> type[Body]:
    """Return the model of a row of the items file."""
    text: Any = Annotated[str, Field(max_length=limits.text)]
    values: Any = text | int | Annotated[list[text], Field(max_length=limits.sequence)] | None
    fields: dict[str, Any] = {
        schema.items.id: (Annotated[str, Field(min_length=1, max_length=limits.text)] | int, ...)
    }
    for name in item_columns(schema):
        kinds = {f.kind: f for f in schema.features.item if f.column == name}
        if "vector" in kinds:
            dim = kinds["vector"].dim
            kind: Any = Annotated[list[float], Field(min_length=dim, max_length=dim)] | None
        elif "number" in kinds:
            kind = float | bool | None
        elif kinds.keys() & {"words", "trigrams"} or name in _texts(schema):
            kind = text | None
        else:
            kind = values
        fields.setdefault(name, (kind, ...))
    return object_of(f"Item_{title}", fields)


def _texts(schema: SearchSchema) -> set[str]:
    """Return the columns of the items file that are matched as text."""
    return {column for f in schema.cross_features for column in f.item_columns}
