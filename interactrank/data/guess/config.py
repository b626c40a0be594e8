"""A config that runs on a log, from what its columns seem to mean, with what was unsure in comments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.guess.inputs import Inputs, guess_inputs
from interactrank.data.guess.names import YAML_WORDS, plain
from interactrank.data.guess.profile import TableProfile, profile
from interactrank.data.guess.roles import Roles, guess_roles
from interactrank.data.raw.files import has_table
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import first_line, quote
from interactrank.data.raw.time_units import UNIT_NAMES, time_unit

__all__ = ["guess_config"]


def guess_config(log: str | os.PathLike[str]) -> str:
    """Return the YAML of a run on the log in a folder.

    Raises:
        DatasetError: a table is missing or unreadable, or no column can be the item, the query, the time or
            an engagement.
    """
    place = Place.of(log)
    try:
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            events, items = profile(db, place, "events"), profile(db, place, "items")
            users = profile(db, place, "users") if has_table(place, "users") else None
            roles = guess_roles(db, events, items, users)
            inputs = guess_inputs(db, events, items, users, roles)
            end = _end_of_history(db, events, roles)
            clock = _clock(db, events, roles)
    except duckdb.Error as error:
        raise DatasetError(f"'{place.name}': {first_line(error)}") from None
    lines = [
        *_head(events, items, users),
        *_schema(roles, inputs, end, clock),
        *_settings(roles, inputs, events),
    ]
    return "\n".join(lines) + "\n"


def _end_of_history(db: duckdb.DuckDBPyConnection, events: TableProfile, roles: Roles) -> str:
    """Return when a user sequence must end: times by the day or month have no order within it."""
    if not events.table.types[roles.time].startswith(("TIMESTAMP", "DATE")):
        return "request"
    t = f"CAST({quote(roles.time)} AS TIMESTAMP)"
    months, days = db.execute(
        f"""SELECT bool_and({t} = date_trunc('month', {t})), bool_and({t} = date_trunc('day', {t}))
        FROM events WHERE {quote(roles.time)} IS NOT NULL"""
    ).fetchone()
    return "month" if months else "day" if days else "request"


def _head(events: TableProfile, items: TableProfile, users: TableProfile | None) -> Iterator[str]:
    tables = [t for t in (events, items, users) if t is not None]
    sizes = ", ".join(f"{t.name} ({t.rows:,} rows, {len(t.table.files)} files)" for t in tables)
    yield f"# Written by interactrank init from {sizes}: a guess, to be read before it is trusted."
    yield "# Look at the lines with 'unsure', and ask interactrank check what it makes of the log."
    yield "schema:"


def _clock(db: duckdb.DuckDBPyConnection, events: TableProfile, roles: Roles) -> str:
    """Return how times are read: the unit of numbers, the zone of others."""
    unit = time_unit(db, events.table, roles.time)
    if unit is not None:
        return f"numbers, read as {UNIT_NAMES[unit]} since 1970"
    zoned = events.table.types[roles.time].endswith("WITH TIME ZONE")
    return "in UTC" if zoned else "read as UTC where no zone is named"


def _schema(roles: Roles, inputs: Inputs, end: str, clock: str) -> Iterator[str]:
    yield "  events:"
    for role in ("request", "user", "session", "query", "item", "time", "event_time", "split", "position"):
        column = getattr(roles, role)
        if role in roles.unsure:
            yield f"    # unsure: {roles.unsure[role]}"
        if column is not None:
            yield f"    {role}: {_text(column)}" + (f"  # {clock}" if role == "time" else "")
    if "impressions" in roles.unsure:
        yield f"    # unsure: {roles.unsure['impressions']}"
    shown = roles.impressions
    yield f"    impressions: {_text(shown) if isinstance(shown, str) else str(shown).lower()}"
    pairs = ", ".join(f"{name}: {_text(column)}" for name, column in roles.engagements.items())
    yield f"    engagements: {{{pairs}}}"
    yield f"  items: {{id: {_text(roles.item_key)}}}"
    if roles.user_key and inputs.of_users:
        yield f"  users: {{id: {_text(roles.user_key)}}}"
    yield from _features(roles, inputs)
    head = next(iter(roles.engagements))
    yield "  heads:"
    yield f"    - {{name: {head}, engagements: [{head}]}}"
    if inputs.history:
        query = ", query: query" if inputs.query_id else ""
        until = "" if end == "request" else f", end: {end}"
        yield f"  sequence: {{length: 50, item: item{query}{until}}}"
    yield "  cross_features:"
    recent = {"month": "365d", "day": "30d"}.get(end, "7d")
    yield from (f"    - {{{x}}}" for x in _cross_features(roles, inputs, head, recent))
    if inputs.left_out:
        yield "  # Not used:"
        yield from (f"  #   {column}: {why}" for column, why in sorted(inputs.left_out.items()))


def _features(roles: Roles, inputs: Inputs) -> Iterator[str]:
    taken = {"query", "query_words", "query_trigrams", "item", "title_words", "title_trigrams"}

    def name(column: str) -> str:
        found = plain(column)
        while found in taken:
            found += "_2"
        taken.add(found)
        return found

    tables: dict[str, str] = {}
    q, query_table = _text(roles.query), "query"
    if inputs.query_like is not None:
        query_table = plain(inputs.query_like)
    yield "  features:"
    yield "    request:"
    if inputs.query_id or not inputs.query_words:
        tables[query_table] = "{dim: 16}"
        yield f"      - {{name: query, kind: id, column: {q}, table: {query_table}}}"
    if inputs.query_words:
        yield f"      - {{name: query_words, kind: words, column: {q}, table: word}}"
    if inputs.query_trigrams:
        yield f"      - {{name: query_trigrams, kind: trigrams, column: {q}, table: trigram}}"
    for column in inputs.context:
        table = name(column)
        tables[table] = "{dim: 8}"
        yield f"      - {{name: {table}, kind: id, column: {_text(column)}, table: {table}}}"
    for column in inputs.of_users:
        table = name(f"user_{column}")
        tables[table] = "{dim: 8}"
        yield f"      - {{name: {table}, kind: id, column: {_text(column)}, file: users, table: {table}}}"
    yield "    item:"
    tables["item"] = "{dim: 16, ids: hash, rows: 32768}" if inputs.many_items else "{dim: 16}"
    yield f"      - {{name: item, kind: id, column: {_text(roles.item_key)}, table: item}}"
    if inputs.title and inputs.query_words:
        tables["word"] = "{dim: 16, ids: hash, rows: 16384}"
        yield f"      - {{name: title_words, kind: words, column: {_text(inputs.title)}, table: word}}"
        if inputs.query_trigrams:
            tables["trigram"] = "{dim: 16, ids: hash, rows: 16384}"
            title = f"column: {_text(inputs.title)}, table: trigram"
            yield f"      - {{name: title_trigrams, kind: trigrams, {title}}}"
    elif inputs.query_words:
        tables["word"] = "{dim: 16, ids: hash, rows: 16384}"
    for column in inputs.categories:
        table = name(column)
        tables.setdefault(table, "{dim: 8}")
        yield f"      - {{name: {table}, kind: id, column: {_text(column)}, table: {table}}}"
    if inputs.candidate:
        yield "    candidate:  # unsure: is it known when the search is made?"
        for column in inputs.candidate:
            yield f"      - {{name: {name(column)}, kind: number, column: {_text(column)}}}"
    yield "  tables:"
    yield from (f"    {table}: {settings}" for table, settings in tables.items())


def _cross_features(roles: Roles, inputs: Inputs, head: str, recent: str) -> Iterator[str]:
    iqp = f"kind: iqp, engagement: {head}"
    if roles.impressions:
        yield f"{iqp}, key: all, statistic: rate"
        yield f"{iqp}, key: query, statistic: rate"
        yield from (f"{iqp}, key: all, statistic: rate, of: {_text(c)}" for c in inputs.fields)
        yield from (f"{iqp}, key: query, statistic: rate, of: {_text(c)}" for c in inputs.fields)
    else:
        yield f"{iqp}, key: query"
        yield f"{iqp}, key: all"
        yield f"{iqp}, key: all, window: {recent}"
    if inputs.query_words:
        yield f"{iqp}, key: words, average: geometric"
        if inputs.query_trigrams:
            yield f"{iqp}, key: trigrams, average: geometric"
    if inputs.history:
        rate = ", statistic: rate" if roles.impressions else ""
        yield f"{iqp}, key: user{rate}"
        yield from (f"{iqp}, key: user{rate}, of: {_text(c)}" for c in inputs.fields)
        if roles.impressions:
            yield "kind: touch, statistic: recency"
            if len(roles.engagements) > 1:
                yield "kind: touch, statistic: count"
            if roles.session:
                yield "kind: touch, statistic: recency, within: session"
        else:
            yield "kind: item_cosine"
    if inputs.texts:
        yield f"kind: bm25, columns: [{_text(inputs.texts[0])}]"
        if len(inputs.texts) > 1:
            yield f"kind: bm25, columns: [{', '.join(map(_text, inputs.texts))}]"


def _settings(roles: Roles, inputs: Inputs, events: TableProfile) -> Iterator[str]:
    if roles.impressions:
        yield "loader: {batch_requests: 32, projection_share: 0.3}"
    else:
        yield "# Positives only: negatives are drawn, and the whole catalogue is ranked."
        yield "loader: {batch_requests: 64, negatives: 100}"
    yield "model:"
    yield "  dim: 16"
    yield "  request_tower: {crossing: none, hidden_dims: [], input_dropout: 0.3}"
    yield "  item_tower: {crossing: none, hidden_dims: [], input_dropout: 0.3}"
    yield "  cross_features: {hidden_dims: [16]}"
    yield "  loss: {pointwise_weight: 0.0, listwise_weight: 1.0, sampled_softmax_weight: 0.0}"
    yield "training:"
    yield "  epochs: 2"
    yield "  dense_optimizer: {lr: 0.02}"
    yield "  table_optimizer: {lr: 0.01}"
    yield "  schedule: {decay: cosine}"
    yield f"evaluation: {{candidates: {'logged' if roles.impressions else 'catalogue'}}}"
    rivals = ["ctr"] if roles.impressions else ["counts"]
    rivals += ["bm25"] if inputs.texts else []
    yield f"models: [interactrank, two_tower, {', '.join(rivals)}]"
    if events.rows < 1_000_000:
        yield "ranks: 1  # a log of this size trains faster in one process"


def _text(value: str) -> str:
    """Return a name as YAML."""
    simple = re.fullmatch(r"[A-Za-z_][\w.-]*", value, re.ASCII) and value.lower() not in YAML_WORDS
    return value if simple else json.dumps(value, ensure_ascii=False)
