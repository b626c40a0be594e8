"""The columns of a request as fields of a form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from interactrank.core.settings import near
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import event_columns, user_columns
from interactrank.schema import SearchSchema
from interactrank.serving import PreRanker, RequestError, Version
from interactrank.serving.browse import Browse

__all__ = ["FormField", "event_columns_of", "fields_of", "read_fields", "vocabulary_of"]

MOST_CHOICES = 200


class FormField(NamedTuple):
    """A column of a request that people may fill in.

    Args:
        name: of the column.
        kind: ``choice`` out of some values, ``number`` or ``text``.
        file: ``events``: without a value it is unknown. ``users``: without one, what the log says of the user
            counts.
        choices: the values, if there are few.
    """

    name: str
    kind: Literal["choice", "number", "text"]
    file: Literal["events", "users"]
    choices: list[str]


def fields_of(ranker: PreRanker, browse: Browse) -> list[FormField]:
    """Return the fields of a model's requests; vectors are left out, nobody types them."""
    schema = ranker.schema
    found: dict[str, FormField] = {}
    for file, names in (("events", event_columns(schema)), ("users", _of_users(schema))):
        for name in names:
            field = _field(name, file, schema, ranker, browse)
            if field is not None:
                found.setdefault(name, field)
    return list(found.values())


def read_fields(schema: SearchSchema, fields: list[FormField], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a request; a column of the events file that is not given is unknown.

    Args:
        schema: of the model.
        fields: of the form.
        values: field -> text or number; empty for none.

    Raises:
        RequestError: a field is unknown, or a number is none.
    """
    known = {f.name: f for f in fields}
    found: dict[str, Any] = dict.fromkeys(event_columns(schema))
    for name, value in values.items():
        if name not in known:
            raise RequestError(f"fields: the form has no '{name}'{near(name, list(known))}")
        if value is None or value == "":
            continue
        if known[name].kind == "number":
            try:
                value = float(value)
            except (TypeError, ValueError):
                raise RequestError(f"fields: '{name}' must be a number, found {value!r}") from None
        found[name] = value
    return found


def event_columns_of(schema: SearchSchema) -> dict[str, Any]:
    """Return how a row of the events file is written: the columns by what they mean."""
    e = schema.events
    names = ("query", "item", "time", "user", "request", "event_time", "position", "engagements")
    return {
        **{name: getattr(e, name) for name in names},
        "impressions": bool(e.impressions),
        "impression_column": e.impression_column,
        "columns": event_columns(schema),
    }


def vocabulary_of(version: Version, table: str) -> Vocabulary:
    """Return the values of an ID table."""
    return Vocabulary.open(version.schema.tables[table], version.folder / "vocabulary" / f"{table}.parquet")


def _of_users(schema: SearchSchema) -> list[str]:
    return user_columns(schema) if schema.users is not None else []


def _field(name: str, file: Any, schema: SearchSchema, ranker: PreRanker, browse: Browse) -> FormField | None:
    features = [f for f in schema.features.request if f.column == name]
    if any(f.kind == "vector" for f in features):
        return None
    if any(f.kind == "number" for f in features):
        return FormField(name, "number", file, [])
    values: list[str] = browse.values.get(name, [])
    tables = [f.table for f in features if f.kind == "id" and f.table is not None]
    if not values and tables:
        values = [v for v in vocabulary_of(ranker.version, tables[0]).values if v is not None]
    few = 0 < len(values) <= MOST_CHOICES
    return FormField(name, "choice" if few else "text", file, sorted(values) if few else [])
