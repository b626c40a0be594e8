"""Users and queries that look like programs: more events on a day than people have.

``prepare.max_events_per_user_day`` and ``max_events_per_query_day`` leave such events out by the same rule:
a request does not count if that user, or query, had reached the cap by earlier requests of the day (UTC). So
a store that is fed live can keep the rule, too: it never needs to know how the day went on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interactrank.data.extras import duckdb

__all__ = ["CAPS", "busiest_days", "caps"]

CAPS = (100, 300, 1000, 3000, 10_000)
DAY_MS = 86_400_000
WHO = {"user": '"user"', "query": "query"}


def caps(db: duckdb.DuckDBPyConnection, who: str, sizes: Sequence[int] = CAPS) -> list[dict[str, Any]]:
    """Return what each cap on the events of a day would leave out; nothing where nobody is known.

    Args:
        db: of :func:`~interactrank.evaluation.history.engaged.opened`.
        who: ``user`` or ``query``.
        sizes: caps, in events (candidates of requests) a day.

    Returns:
        For each cap ``{"cap", "names": users or queries above it, "days": their days, "requests", "events",
        "engagements": left out, and "share_of_events", "share_of_engagements"}``.
    """
    name = WHO[who]
    db.execute(
        f"""CREATE OR REPLACE TEMP TABLE moments AS
        SELECT *, sum(events) OVER (PARTITION BY name, day ORDER BY time) - events AS earlier FROM (
            SELECT {name} AS name, time // {DAY_MS} AS day, time, count(*) AS requests,
                sum(events) AS events, sum(engagements) AS engagements
            FROM requests WHERE {name} IS NOT NULL GROUP BY ALL)"""
    )
    every = db.execute("SELECT sum(events), sum(engagements) FROM moments").fetchone()
    if not every[0]:
        return []
    found = []
    for cap in sorted(set(sizes)):
        names, days, requests, events, engagements = db.execute(
            f"""SELECT count(DISTINCT name), count(DISTINCT (name, day)), coalesce(sum(requests), 0),
            coalesce(sum(events), 0), coalesce(sum(engagements), 0) FROM moments WHERE earlier >= {cap}"""
        ).fetchone()
        found.append(
            {
                "cap": cap,
                "names": int(names),
                "days": int(days),
                "requests": int(requests),
                "events": int(events),
                "engagements": int(engagements),
                "share_of_events": float(events / every[0]),
                "share_of_engagements": float(engagements / every[1]) if every[1] else None,
            }
        )
    return found


def busiest_days(db: duckdb.DuckDBPyConnection, who: str, top: int = 10) -> list[dict[str, Any]]:
    """Return the users, or queries, with the most events on a day, and that day.

    Args:
        db: of :func:`~interactrank.evaluation.history.engaged.opened`.
        who: ``user`` or ``query``.
        top: how many.
    """
    name = WHO[who]
    rows = db.execute(
        f"""SELECT name, strftime(make_timestamp(day * {DAY_MS} * 1000), '%Y-%m-%d'), requests, events,
            engagements
        FROM (SELECT {name} AS name, time // {DAY_MS} AS day, count(*) AS requests, sum(events) AS events,
            sum(engagements) AS engagements FROM requests WHERE {name} IS NOT NULL GROUP BY ALL)
        QUALIFY row_number() OVER (PARTITION BY name ORDER BY events DESC, day) = 1
        ORDER BY events DESC, name LIMIT {top}"""
    ).fetchall()
    names = ("name", "day", "requests", "events", "engagements")
    return [{n: v if isinstance(v, str) else int(v) for n, v in zip(names, row, strict=True)} for row in rows]
