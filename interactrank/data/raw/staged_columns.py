"""Names of the log's columns in the staged tables, and which of them a schema needs."""

from __future__ import annotations

from interactrank.schema import SearchSchema

__all__ = [
    "candidate_column",
    "engagement",
    "engagement_time",
    "event_columns",
    "item_column",
    "item_columns",
    "request_column",
    "user_columns",
]


def engagement(name: str) -> str:
    """Return the column of ``candidates`` that says whether an engagement happened."""
    return f"e_{name}"


def engagement_time(name: str) -> str:
    """Return the column of ``candidates`` that says when an engagement happened first."""
    return f"t_{name}"


def candidate_column(name: str) -> str:
    """Return the column of ``candidates`` with a candidate feature of that name."""
    return f"k_{name}"


def item_column(schema: SearchSchema, column: str) -> str:
    """Return the name of an items column in the table ``items``."""
    return "id" if column == schema.items.id else f"c_{column}"


def request_column(schema: SearchSchema, column: str, file: str | None) -> str:
    """Return the name of a column of the ``events`` (or None) or ``users`` file in the table ``requests``."""
    if file == "users":
        return f"u_{column}"
    return {schema.events.query: "query", schema.events.user: "user"}.get(column, f"c_{column}")


def item_columns(schema: SearchSchema) -> list[str]:
    """Return the columns of the items file that features need, and the id."""
    texts = [c for f in schema.cross_features for c in [*f.item_columns, *f.field_columns]]
    return list(dict.fromkeys([schema.items.id, *(f.column for f in schema.features.item), *texts]))


def user_columns(schema: SearchSchema) -> list[str]:
    """Return the columns of the users file that requests need."""
    features = [f.column for f in schema.features.request if f.file == "users"]
    return list(dict.fromkeys([*features, *(s for s, file in schema.segments.items() if file == "users")]))


def event_columns(schema: SearchSchema) -> list[str]:
    """Return the columns of the events file that requests need, without query and user."""
    features = [f.column for f in schema.features.request if f.file != "users"]
    wanted = [*features, *(s for s, file in schema.segments.items() if file == "events")]
    return [c for c in dict.fromkeys(wanted) if c not in (schema.events.query, schema.events.user)]
