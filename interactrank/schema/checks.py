"""What the sections of a schema ask of each other; each function returns one message for each mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interactrank.core.settings import near
from interactrank.schema.duration import parse_duration

if TYPE_CHECKING:
    from interactrank.schema.search_schema import SearchSchema

__all__ = [
    "cross_feature_problems",
    "delay_problems",
    "engagement_problems",
    "feature_problems",
    "file_problems",
    "sequence_problems",
    "table_problems",
]


def delay_problems(delay: str | None) -> list[str]:
    """Check that the delay of histories is a duration."""
    try:
        if delay is not None:
            parse_duration(delay)
    except ValueError as error:
        return [f"history_delay: {error}"]
    return []


def feature_problems(schema: SearchSchema) -> list[str]:
    """Check names, files and columns of the towers' features."""
    found = []
    names = [f.name for f in [*schema.features.request, *schema.features.item]]
    names += [f.name for f in schema.features.candidate]
    for name in sorted({n for n in names if names.count(n) > 1}):
        found.append(f"features: '{name}' is defined more than once")
    late = _known_too_late(schema)
    for f in schema.features.request:
        if f.file == "items":
            found.append(f"features.request '{f.name}': a request has no column of the items file")
        elif f.file != "users" and f.column in late:
            found.append(
                f"features.request '{f.name}': column '{f.column}' ({late[f.column]}) is not known when "
                "the search is made; a model that sees it cannot be used"
            )
    for f in schema.features.item:
        if f.file not in (None, "items"):
            found.append(f"features.item '{f.name}': an item feature comes from the items file, not {f.file}")
    return found + _candidate_problems(schema, late) + _kind_problems(schema)


def _candidate_problems(schema: SearchSchema, late: dict[str, str]) -> list[str]:
    found = []
    for f in schema.features.candidate:
        if f.column in late:
            found.append(
                f"features.candidate '{f.name}': column '{f.column}' ({late[f.column]}) tells the outcome "
                "or is not known when the search is made; a model that sees it cannot be used"
            )
    if schema.features.candidate and not schema.events.impressions:
        found.append(
            "features.candidate needs events.impressions: without them only the items that were engaged with "
            "have a value, which gives them away"
        )
    return found


def _kind_problems(schema: SearchSchema) -> list[str]:
    """Check that no number or vector is read from a column that the schema says holds text or ids."""
    e, found = schema.events, []
    of_events = {e.query: "events.query", e.user: "events.user", e.session: "events.session"}
    of_events |= {e.request: "events.request"}
    of_users = {schema.users.id: "users.id"} if schema.users is not None else {}
    for side, features in (("request", schema.features.request), ("item", schema.features.item)):
        for f in features:
            known = {schema.items.id: "items.id"} if side == "item" else of_events
            role = (of_users if f.file == "users" else known).get(f.column)
            if role is not None and not f.is_sparse:
                found.append(
                    f"features.{side} '{f.name}': kind {f.kind} reads numbers, but column '{f.column}' "
                    f"({role}) holds {'text' if role == 'events.query' else 'ids'}; use kind id, words or "
                    "trigrams"
                )
    return found


def table_problems(schema: SearchSchema) -> list[str]:
    """Check that features and ID tables name each other, and what the user sequence asks of its tables."""
    found = []
    features = [*schema.features.request, *schema.features.item]
    for f in features:
        if f.table is not None and f.table not in schema.tables:
            found.append(f"feature '{f.name}': no table '{f.table}'{near(f.table, schema.tables)}")
    used = {f.table for f in features}
    for table in schema.tables:
        if table not in used:
            found.append(f"tables: no feature uses '{table}'; remove it or name it in a feature")
    for table in sorted(schema.sequence_tables):
        if table in schema.tables and schema.tables[table].pooling != "mean":
            found.append(
                f"tables.{table}.pooling: the user sequence looks up single rows and pools none; leave it out"
            )
        for f in features:
            if f.table == table and f.kind != "id":
                found.append(
                    f"feature '{f.name}': table '{table}' is the user sequence's, in which a value has "
                    f"one row; kind {f.kind} needs a table of its own"
                )
    return found


def engagement_problems(schema: SearchSchema) -> list[str]:
    """Check the engagements that heads, weights and the user sequence name."""
    found = []
    known = schema.events.engagements
    for where, wanted in [
        *((f"head '{h.name}'", [*h.engagements, *h.unless]) for h in schema.heads),
        ("label_weights", list(schema.label_weights)),
        ("sequence", schema.sequence_engagements),
    ]:
        for e in wanted:
            if e not in known:
                found.append(f"{where}: no engagement '{e}'{near(e, known)}")
    for name, weight in schema.label_weights.items():
        if weight <= 0:
            found.append(f"label_weights.{name} is {weight}; it must be above 0")
    if len(set(schema.head_names)) < len(schema.heads):
        found.append("heads: two heads have the same name")
    return found


def sequence_problems(schema: SearchSchema) -> list[str]:
    """Check the features, tables and columns that the user sequence needs."""
    found = []
    s = schema.sequence
    if s is None:
        return []
    if schema.events.user is None:
        found.append("sequence: needs events.user, the column of who searched")
    for key, name, side in (
        ("item", s.item, schema.features.item),
        ("query", s.query, schema.features.request),
    ):
        ids = [f.name for f in side if f.kind == "id"]
        if name is not None and name not in ids:
            which = "an item" if key == "item" else "a request"
            found.append(f"sequence.{key}: '{name}' is not {which} feature of kind id{near(name, ids)}")
    dims = {t: schema.tables[t].dim for t in sorted(schema.sequence_tables) if t in schema.tables}
    if len(set(dims.values())) > 1:
        listed = ", ".join(f"{table} {dim}" for table, dim in dims.items())
        found.append(f"sequence: the tables of its item and query need the same dim; they have {listed}")
    if s.end == "session" and schema.events.session is None:
        found.append("sequence.end: session needs events.session, the column of the session")
    return found


def cross_feature_problems(schema: SearchSchema) -> list[str]:
    """Check what each cross feature asks of the schema, and that their names differ."""
    found = [
        f"cross_features '{f.name}': {problem}"
        for f in schema.cross_features
        for problem in f.schema_problems(schema)
    ]
    names = [f.name for f in schema.cross_features]
    names += [name for f in schema.features.candidate for name in f.columns.values()]
    for name in sorted({n for n in names if names.count(n) > 1}):
        found.append(f"cross_features: '{name}' is defined more than once")
    return found


def file_problems(schema: SearchSchema) -> list[str]:
    """Check what needs a users file, a user column, or a column that is known when the search is made."""
    found = []
    late = _known_too_late(schema)
    for f in schema.features.request:
        if f.file == "users" and schema.users is None:
            found.append(f"features.request '{f.name}': file users needs the section users")
    for segment, file in schema.segments.items():
        if file == "users" and schema.users is None:
            found.append(f"segments.{segment}: file users needs the section users")
        if file == "events" and segment in late:
            found.append(
                f"segments.{segment}: the column ({late[segment]}) is not known when the search is made"
            )
    if schema.users is not None and schema.events.user is None:
        found.append("users: needs events.user, to join the users file")
    if schema.exclude_repeats and schema.events.user is None:
        found.append("exclude_repeats: needs events.user")
    return found


def _known_too_late(schema: SearchSchema) -> dict[str, str]:
    """Return the columns of the events file that tell the outcome of a request -> their role."""
    e = schema.events
    roles = {e.item: "events.item", e.event_time: "events.event_time", e.split: "events.split"}
    roles |= {e.impression_column: "events.impressions"}
    roles |= {e.position: "events.position", e.true_probability: "events.true_probability"}
    roles |= {column: f"events.engagements.{name}" for name, column in e.engagements.items()}
    return {column: role for column, role in roles.items() if column is not None}
