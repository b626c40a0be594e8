"""Inputs: which columns a model could read, as far as names and values tell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from interactrank.data.extras import duckdb
from interactrank.data.guess import names
from interactrank.data.guess.leaks import leaks
from interactrank.data.guess.names import best
from interactrank.data.guess.profile import ColumnProfile, TableProfile
from interactrank.data.guess.roles import Roles, varies_within
from interactrank.data.raw.sql import quote

__all__ = ["Inputs", "guess_inputs"]

CONTEXTS, CATEGORIES, FIELDS, TEXTS = 4, 4, 2, 4  # at most
TYPED = 0.4  # share of queries that were searched once; texts that people type have a long tail
MANY_ITEMS = 50_000  # with few events each: their ids are hashed


@dataclass
class Inputs:
    """What the towers and the score could read.

    Args:
        query_id, query_words, query_trigrams: how the query is read.
        query_like: column of items whose values are queries, such as a city; None without one.
        many_items: whether the items' ids are hashed.
        context: columns of events that belong to the request.
        of_users: columns of users.
        candidate: columns of events that belong to (request, item).
        title: the item's text; None without one.
        texts: columns of items that a text match reads.
        categories: columns of items with ids.
        fields: those of ``categories`` by which rates are counted.
        left_out: file and column -> why it is not used.
        history: whether users come again.
    """

    query_id: bool
    query_words: bool
    query_trigrams: bool
    many_items: bool
    query_like: str | None = None
    context: list[str] = field(default_factory=list)
    of_users: list[str] = field(default_factory=list)
    candidate: list[str] = field(default_factory=list)
    title: str | None = None
    texts: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    history: bool = False


def guess_inputs(
    db: duckdb.DuckDBPyConnection,
    events: TableProfile,
    items: TableProfile,
    users: TableProfile | None,
    roles: Roles,
) -> Inputs:
    """Return the inputs; the views ``events``, ``items`` and ``users`` are there."""
    searches, searchers, engaged_items = db.execute(
        f"""SELECT count(DISTINCT {roles.request_key}), {_distinct(roles.user)}, {_distinct(roles.item)}
        FROM events"""
    ).fetchone()
    q = quote(roles.query)
    searched = (
        f"SELECT count(DISTINCT {roles.request_key}) AS n FROM events WHERE {q} IS NOT NULL GROUP BY {q}"
    )
    rare = db.execute(f"SELECT avg((n = 1)::INT) FROM ({searched})").fetchone()[0]
    typed = (rare or 0) > TYPED
    query = events.columns[roles.query]
    has_words = query.holds == "text" and query.distinct > 500
    inputs = Inputs(
        query_id=not typed or not has_words,
        query_words=has_words,
        query_trigrams=has_words and typed,
        many_items=engaged_items > MANY_ITEMS and events.rows < 5 * engaged_items,
    )
    inputs.history = roles.user is not None and searches >= 2 * max(searchers, 1)
    _guess_of_events(db, events, roles, inputs)
    _guess_query_like(db, items, roles, inputs)
    _guess_of_items(items, roles, inputs)
    if users is not None and roles.user:
        small = [n for n, c in users.columns.items() if _is_small(c) and n != roles.user_key]
        inputs.of_users = small[:CONTEXTS]
    return inputs


def _distinct(column: str | None) -> str:
    return f"count(DISTINCT {quote(column)})" if column else "0"


def _guess_query_like(
    db: duckdb.DuckDBPyConnection, items: TableProfile, roles: Roles, inputs: Inputs
) -> None:
    """Find a column of items whose values are the queries; then the query is an id and not a text."""
    queries = f"(SELECT DISTINCT {quote(roles.query)}::VARCHAR AS q FROM events LIMIT 2000)"
    for name, c in items.columns.items():
        if name == roles.item_key or c.holds not in ("text", "numbers") or c.distinct > items.rows / 2:
            continue
        share = db.execute(
            f"SELECT avg((q IN (SELECT {quote(name)}::VARCHAR FROM items))::INT) FROM {queries}"
        ).fetchone()[0]
        if share is not None and share > 0.5:
            inputs.query_like, inputs.query_id = name, True
            inputs.query_words = inputs.query_trigrams = False


def _is_context(c: ColumnProfile, events: TableProfile) -> bool:
    return _is_small(c) and c.name.removesuffix("_text") not in events.columns.keys() - {c.name}


def _is_small(c: ColumnProfile) -> bool:
    """Return whether a column is a choice of few."""
    return c.holds == "text" and 2 <= c.distinct <= 1000 and c.words < 4


def _guess_of_events(
    db: duckdb.DuckDBPyConnection, events: TableProfile, roles: Roles, inputs: Inputs
) -> None:
    found = leaks(db, events, roles)
    for name, c in events.columns.items():
        if name in roles.taken:
            continue
        if name in found:
            inputs.left_out[f"events.{name}"] = f"alone it tells engagements (AUC {found[name]:.3f}): a leak?"
        elif best([name], names.ROW_KIND):
            inputs.left_out[f"events.{name}"] = "says what kind of row it is"
        elif c.holds == "numbers" and roles.impressions and varies_within(db, roles, name):
            if re.search(r"(^|_)(id|order|rank|row|nr|no)$", name.lower()):
                inputs.left_out[f"events.{name}"] = "an id, or a place in a list"
            else:
                inputs.candidate.append(name)
        elif _is_context(c, events) and len(inputs.context) < CONTEXTS and not varies_within(db, roles, name):
            inputs.context.append(name)
        else:
            inputs.left_out[f"events.{name}"] = _why_not(c)


def _why_not(c: ColumnProfile) -> str:
    if c.holds == "nothing":
        return "holds nothing that a feature reads"
    return "one value" if c.distinct <= 1 else f"{c.holds}, about {c.distinct:,} values"


def _guess_of_items(items: TableProfile, roles: Roles, inputs: Inputs) -> None:
    columns = {n: c for n, c in items.columns.items() if n != roles.item_key}
    inputs.title = best([n for n, c in columns.items() if c.holds == "text"], names.TITLE, "title")
    later = {n for n in columns if re.search(names.LATER, n.lower())}
    for name in later:
        inputs.left_out[f"items.{name}"] = (
            "by its name it may be from after the log: then it knows the future"
        )
    choices = [n for n, c in columns.items() if n not in later and _is_category(n, c, columns, items.rows)]
    choices = [n for n in choices if n != inputs.title]
    choices.sort(
        key=lambda n: (
            n != inputs.query_like,
            re.search(names.CATEGORY, n.lower()) is None,
            items.columns[n].distinct,
        )
    )
    inputs.categories = choices[:CATEGORIES]
    named = [n for n in inputs.categories if re.search(names.CATEGORY, n.lower())]
    inputs.fields = (named or inputs.categories)[:FIELDS]
    if inputs.title is not None and inputs.query_words:
        more = [n for n in columns if n not in later and n != inputs.title and columns[n].holds == "text"]
        wordy = [n for n in more if n in choices or columns[n].words > 3]
        inputs.texts = [inputs.title, *(n for n in wordy if "url" not in n.lower())][:TEXTS]
    for name, c in columns.items():
        used = {*inputs.categories, *inputs.texts, *([inputs.title] if inputs.query_words else []), *later}
        if name not in used:
            inputs.left_out[f"items.{name}"] = _why_not(c)


def _is_category(name: str, c: ColumnProfile, columns: dict[str, ColumnProfile], rows: int) -> bool:
    """Return whether a column of items has few values, each of several items."""
    if name.endswith("_text") and name.removesuffix("_text") in columns:
        return False
    if c.holds == "texts":
        return True
    if c.holds == "numbers" and c.maximum <= 1:
        return False
    named = re.search(names.CATEGORY, name.lower()) is not None and c.distinct < rows / 2
    whole = c.holds == "numbers" and c.whole and 2 <= c.distinct <= 300 and rows > 10 * c.distinct
    return named or whole or (c.holds == "text" and c.words < 4 and 2 <= c.distinct <= min(1000, rows / 4))
