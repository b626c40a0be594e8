"""Drift: how far the shares of one week are those of the week before, and what gained most.

Shares of a few engagements differ by chance alone. Morisita's index of overlap (1959) is free of that: it
compares the chance that two engagements, one of each week, fall to the same item with the chance that two of
one week do. It is about 1 where nothing has changed, however few engagements there are, and 0 where the weeks
have nothing in common.
"""

from __future__ import annotations

from typing import Any

from interactrank.data.extras import duckdb

__all__ = ["drift", "overlap_by_period", "top_gains"]

DAY_MS = 86_400_000
WEEK_DAYS = 7
MIN_ENGAGEMENTS = 10
"""A key takes part with this many engagements in each of two weeks."""

SHARES = {
    "items": ("''", "item"),
    "queries": ("''", "query"),
    "items of a query": ("query", "item"),
}
"""What is compared -> SQL of the key whose shares they are, and of what has them."""


def drift(db: duckdb.DuckDBPyConnection, *, top: int = 10) -> dict[str, Any]:
    """Return the overlap of each week with the one before, and the largest gains of the last one.

    Weeks are counted back from the last engagement, so that the last is whole. A log of less than two of them
    is compared day by day.

    Args:
        db: of :func:`~interactrank.evaluation.history.engaged.opened`.
        top: gains of each kind.
    """
    first, last = db.execute("SELECT min(time), max(time) FROM engaged").fetchone()
    if last is None:
        return {"days": WEEK_DAYS, "overlap": {}, "gains": []}
    days = WEEK_DAYS if last - first >= 2 * WEEK_DAYS * DAY_MS else 1
    db.execute(
        f"""CREATE OR REPLACE TABLE dated AS
        SELECT -(({last} - time) // {days * DAY_MS}) AS period, query, item FROM engaged"""
    )
    return {
        "days": days,
        "overlap": {name: overlap_by_period(db, key, of) for name, (key, of) in SHARES.items()},
        "gains": top_gains(db, top),
    }


def overlap_by_period(db: duckdb.DuckDBPyConnection, key: str, of: str) -> list[dict[str, Any]]:
    """Return Morisita's index of each period with the one before, over the keys that have enough in both.

    Sums over keys are weighted by their engagements, and are divided last.

    Args:
        db: has a table ``dated`` (period, query, item).
        key: SQL of the key.
        of: SQL of what has a share of the key's engagements.
    """
    rows = db.execute(
        f"""WITH counts AS (
            SELECT period, {key} AS key, {of} AS name, count(*)::DOUBLE AS n FROM dated GROUP BY ALL
        ), keys AS (
            SELECT period, key, sum(n) AS total, sum(n * (n - 1)) AS same FROM counts GROUP BY ALL
            HAVING sum(n) >= {MIN_ENGAGEMENTS}
        ), shared AS (
            SELECT b.period, b.key, sum(a.n * b.n) AS common FROM counts a JOIN counts b
            ON a.period + 1 = b.period AND a.key = b.key AND a.name = b.name GROUP BY ALL
        )
        SELECT y.period, count(*), sum(x.total + y.total),
            2 * sum((x.total + y.total) * coalesce(common, 0) / (x.total * y.total)),
            sum((x.total + y.total)
                * (x.same / (x.total * (x.total - 1)) + y.same / (y.total * (y.total - 1))))
        FROM keys x JOIN keys y ON x.period + 1 = y.period AND x.key = y.key
        LEFT JOIN shared s ON s.period = y.period AND s.key = y.key
        GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    return [
        {
            "period": int(period),
            "keys": int(keys),
            "engagements": int(total),
            "overlap": both / same if same else None,
        }
        for period, keys, total, both, same in rows
    ]


def top_gains(db: duckdb.DuckDBPyConnection, top: int) -> list[dict[str, Any]]:
    """Return the pairs of query and item that gained most in the last period.

    A gain is what an item has more of a query's engagements than its share of the period before would give.
    """
    rows = db.execute(
        f"""WITH counts AS (
            SELECT query, item, count(*) FILTER (period = -1) AS before, count(*) FILTER (period = 0) AS now
            FROM dated WHERE period >= -1 GROUP BY ALL
        ), shares AS (
            SELECT *, sum(before) OVER (PARTITION BY query) AS all_before,
                sum(now) OVER (PARTITION BY query) AS all_now FROM counts
        )
        SELECT query, id, before / all_before, now / all_now, now - all_now * before / all_before AS gain
        FROM shares JOIN items USING (item)
        WHERE all_before >= {MIN_ENGAGEMENTS} AND all_now >= {MIN_ENGAGEMENTS}
            AND now > all_now * before / all_before
        ORDER BY gain DESC, query, id LIMIT {top}"""
    ).fetchall()
    names = ("query", "item", "share_before", "share", "gain")
    return [dict(zip(names, row, strict=True)) for row in rows]
