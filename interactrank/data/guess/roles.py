"""Roles: which column of a log is the item, the query, the time, and so on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.guess import names
from interactrank.data.guess.names import best
from interactrank.data.guess.profile import ColumnProfile, TableProfile
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.raw.sql import identity, quote

__all__ = ["Roles", "guess_roles", "varies_within"]

SAMPLE = 2000  # distinct ids that are looked for in items


@dataclass
class Roles:
    """Columns of the events by their role, and what was unsure.

    Args:
        item, query, time: columns that every log has.
        item_key: id of the items file.
        user, request, session, split, position, event_time: columns, or None.
        user_key: id of the users file; None without one.
        engagements: name -> column.
        impressions: what the schema's ``events.impressions`` is.
        unsure: role -> what to look at.
    """

    item: str
    item_key: str
    query: str
    time: str
    user: str | None = None
    request: str | None = None
    session: str | None = None
    split: str | None = None
    position: str | None = None
    event_time: str | None = None
    user_key: str | None = None
    engagements: dict[str, str] = field(default_factory=dict)
    impressions: bool | str = False
    unsure: dict[str, str] = field(default_factory=dict)

    @property
    def taken(self) -> set[str]:
        """Columns of the events that have a role."""
        single = (self.item, self.query, self.time, self.user, self.request, self.session, self.split)
        return {c for c in (*single, self.position, self.event_time, *self.engagements.values()) if c}

    @property
    def request_key(self) -> str:
        """SQL for the request of a row."""
        if self.request:
            return quote(self.request)
        parts = [c for c in (self.user, self.query, self.time) if c]
        return f"concat_ws(chr(31), {', '.join(quote(c) for c in parts)})"


def guess_roles(
    db: duckdb.DuckDBPyConnection, events: TableProfile, items: TableProfile, users: TableProfile | None
) -> Roles:
    """Return the roles of the columns of a log; its views are ``events``, ``items`` and ``users``.

    Raises:
        DatasetError: no column can be the item, the query, the time or an engagement; says which.
    """
    columns = events.columns
    item, item_key, share = _item(db, events, items)
    scalars = {n: c for n, c in columns.items() if c.holds in ("text", "numbers") and n != item}
    texts = [n for n in scalars if not n.lower().endswith(("_id", "_raw"))]
    times = [n for n, c in columns.items() if c.holds == "times"]
    query = best(texts, names.QUERY, "query") or _longest_text(scalars)
    event_time = best(times, names.TIME_OF_EVENT)
    others = [n for n in times if n != event_time]
    time = best(others, names.TIME, "timestamp") or next(iter(others), event_time)
    if query is None or time is None:
        missing = "text of a query" if query is None else "time"
        raise DatasetError(
            f"'{events.table.first}': no column holds the {missing}; it has {', '.join(columns)}; rename it "
            f"to {'query' if query is None else 'timestamp'}, or write the config by hand"
        )
    roles = Roles(item=item, item_key=item_key, query=query, time=time)
    if share < 0.5:
        roles.unsure["item"] = f"only {share:.0%} of its values are in items"
    if best([query], names.QUERY) is None:
        roles.unsure["query"] = "no column is named as a query; this one has the longest texts"
    if best([time], names.TIME) is None:
        roles.unsure["time"] = "no column is named as the time of a request"
    roles.event_time = event_time if event_time != time else None
    roles.user = best([n for n in scalars if n != query], names.USER, "user_id")
    roles.session = best([n for n in scalars if n != query], names.SESSION, "session_id")
    roles.request = best([n for n in scalars if n != query], names.REQUEST, "request_id")
    roles.split = _split(db, columns)
    numbers = [n for n, c in columns.items() if c.holds == "numbers" and c.minimum >= 0]
    roles.position = best(numbers, names.POSITION, "position")
    if roles.request:
        _check_request(db, roles)
    if roles.event_time:
        _check_event_time(db, roles, columns)
    if users is not None:
        roles.user_key = best(users.columns, names.USER, (roles.user or "").lower()) or next(
            iter(users.columns)
        )
    _guess_engagements(db, events, roles)
    return roles


Found = tuple[str, str, float]
"""Column of events, id of items, and the share of the column that is in the id."""


def _item(db: duckdb.DuckDBPyConnection, events: TableProfile, items: TableProfile) -> Found:
    """Return the pair of columns that joins events and items best."""
    keys = [n for n, c in items.columns.items() if c.holds in ("text", "numbers") and c.known == items.rows]
    found = []
    for key in keys:
        if items.columns[key].distinct < 0.9 * items.rows:  # about; asked exactly below
            continue
        name = _ids(items, key)
        if db.execute(f"SELECT count(DISTINCT {name}) FROM items").fetchone()[0] < items.rows:
            continue
        for column, about in events.columns.items():
            if about.holds not in ("text", "numbers"):
                continue
            ids = f"SELECT DISTINCT {_ids(events, column)} AS id FROM events LIMIT {SAMPLE}"
            share = db.execute(
                f"SELECT avg((id IN (SELECT {name} FROM items))::INT) FROM ({ids}) WHERE id IS NOT NULL"
            ).fetchone()[0]
            named = (column == key) + (best([column], names.ITEM) is not None)
            if share and (share > 0.05 or named):
                found.append((share + named / 2, share, column, key))
    if not found:
        raise DatasetError(
            f"no column of '{events.table.first}' holds ids that a column of '{items.table.first}' has once "
            "for each item; give both tables the item's id"
        )
    _, share, column, key = max(found)
    return column, key, float(share)


def _ids(table: TableProfile, column: str) -> str:
    return identity(column, table.table.types[column])


def _longest_text(columns: dict[str, ColumnProfile]) -> str | None:
    texts = [c for c in columns.values() if c.holds == "text" and c.words > 1.2]
    return max(texts, key=lambda c: c.words).name if texts else None


def _split(db: duckdb.DuckDBPyConnection, columns: dict[str, ColumnProfile]) -> str | None:
    for name, column in columns.items():
        if column.holds == "text" and column.distinct <= 2 * len(SPLITS):
            values = db.execute(f"SELECT DISTINCT lower({quote(name)}) FROM events").fetchall()
            known = {v for (v,) in values}
            if "train" in known and known <= set(SPLITS):
                return name
    return None


def _check_request(db: duckdb.DuckDBPyConnection, roles: Roles) -> None:
    """Drop a request column whose values are used again by others."""
    who = [quote(c) for c in (roles.user, roles.query) if c]
    several = " OR ".join(f"min({c}) <> max({c})" for c in who)
    total, mixed = db.execute(
        f"""SELECT count(*), count(*) FILTER (several)
        FROM (SELECT {several} AS several FROM events GROUP BY {roles.request_key})"""
    ).fetchone()
    if mixed > 0.01 * total:
        roles.unsure["request"] = (
            f"'{roles.request}' is not used: {mixed:,} of its {total:,} values have several users or queries"
        )
        roles.request = None


def _check_event_time(db: duckdb.DuckDBPyConnection, roles: Roles, columns: dict[str, ColumnProfile]) -> None:
    assert roles.event_time is not None
    both = [quote(roles.event_time), quote(roles.time)]
    early = f"avg((TRY_CAST({both[0]} AS TIMESTAMP) < TRY_CAST({both[1]} AS TIMESTAMP))::INT)"
    if columns[roles.event_time].minimum:  # numbers; of one unit or not, prepare tells
        return
    share = db.execute(f"SELECT {early} FROM events").fetchone()[0]
    if share is not None and share > 0.5:
        roles.unsure["event_time"] = f"'{roles.event_time}' is not used: {share:.0%} are before the request"
        roles.event_time = None


def varies_within(db: duckdb.DuckDBPyConnection, roles: Roles, column: str) -> bool:
    """Return whether a column differs between the rows of one request, in over 1 % of those that could."""
    c = quote(column)
    share = db.execute(
        f"""SELECT avg(varies::INT) FROM (
            SELECT count(DISTINCT {c}) > 1 OR count({c}) NOT IN (0, count(*)) AS varies
            FROM events GROUP BY {roles.request_key} HAVING count(*) > 1)"""
    ).fetchone()[0]
    return share is not None and share > 0.01


def _guess_engagements(db: duckdb.DuckDBPyConnection, events: TableProfile, roles: Roles) -> None:
    """Find what was engaged with, and which rows are impressions.

    Raises:
        DatasetError: no column says it.
    """
    columns = [
        c
        for n, c in events.columns.items()
        if n not in roles.taken
        and (c.holds == "numbers" and c.whole and c.minimum >= 0 and 0 < c.maximum <= 1000)
        and re.search(names.ENGAGEMENT, n.lower())
        and not re.search(r"order|rank|pos|_id$|_nr$|_no$", n.lower())
    ]
    chosen = [c for c in columns if c.minimum == c.maximum or _of_single_rows(db, roles, c.name)]
    if not chosen:
        raise DatasetError(
            f"'{events.table.first}': no column counts engagements (numbers 0, 1, ... that differ between "
            "the items of a request), such as click; add one"
        )
    chosen.sort(key=lambda c: ("click" not in c.name.lower(), "purchase" not in c.name.lower()))
    for c in chosen:
        roles.engagements[_engagement_name(db, events, c.name)] = c.name
    engaged = " OR ".join(f"{quote(c.name)}::DOUBLE > 0" for c in chosen)
    nothing = db.execute(f"SELECT avg((NOT coalesce({engaged}, false))::INT) FROM events").fetchone()[0]
    roles.impressions = nothing > 0.01
    if 0.01 < nothing < 0.3:
        roles.unsure["impressions"] = (
            f"only {nothing:.0%} of the rows have no engagement: was all logged that was shown?"
        )
    if roles.position and roles.impressions:
        p, kind = quote(roles.position), events.table.types[roles.position]
        unlisted, all_engaged = db.execute(
            f"""SELECT count(*), coalesce(avg(coalesce({engaged}, false)::INT), 0) FROM events
            WHERE {identity(roles.position, kind)} IS NULL OR {p}::DOUBLE <= 0"""
        ).fetchone()
        if unlisted and all_engaged > 0.99:
            roles.impressions = roles.position
            roles.unsure["impressions"] = (
                f"{unlisted:,} rows without a position are engagements outside of a list"
            )


def _of_single_rows(db: duckdb.DuckDBPyConnection, roles: Roles, column: str) -> bool:
    """Return whether a count is one of single rows, and not of a whole request."""
    if varies_within(db, roles, column):
        return True
    c = quote(column)
    several = f"SELECT max({c}::DOUBLE) AS m FROM events GROUP BY {roles.request_key} HAVING count(*) > 1"
    most = db.execute(f"SELECT max(m) FROM ({several})").fetchone()[0]
    return not most  # 0 in every list, or no list at all


def _engagement_name(db: duckdb.DuckDBPyConnection, events: TableProfile, column: str) -> str:
    """Return a name; of a column that is called label, the one value of a column that says what happened."""
    if best([column], names.LABEL) is None:
        return names.plain(column)
    for name, about in events.columns.items():
        if about.holds == "text" and about.distinct == 1 and best([name], names.ROW_KIND):
            return names.plain(str(db.execute(f"SELECT any_value({quote(name)}) FROM events").fetchone()[0]))
    return "click"
