"""Caps on the events of a user's, or a query's, day: what programs do is not what people want."""

from __future__ import annotations

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.events import is_candidate
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

__all__ = ["cap_events"]

DAY_MS = 86_400_000


def cap_events(
    db: duckdb.DuckDBPyConnection, schema: SearchSchema, settings: PrepareSettings
) -> dict[str, int]:
    """Leave out the events of ``parsed`` whose user, or query, had reached its cap earlier on that day.

    Days are those of UTC. All rows of one moment stay or go together, so that no request is cut; and whether
    they stay depends on what was before them alone, so that a store that is fed live can keep the rule.

    Returns:
        The setting -> how many rows it left out.

    Raises:
        DatasetError: users are capped and the log has none, or nothing is left.
    """
    if settings.max_events_per_user_day and not schema.events.user:
        raise DatasetError(
            "prepare.max_events_per_user_day needs schema.events.user, the column of the users"
        )
    wanted = {
        "max_events_per_user_day": ('"user"', settings.max_events_per_user_day),
        "max_events_per_query_day": ("lower(query)", settings.max_events_per_query_day),
    }
    found = {name: _cap(db, schema, who, cap) for name, (who, cap) in wanted.items() if cap}
    if found and not db.execute(f"SELECT count(*) FROM parsed WHERE {is_candidate(schema)}").fetchone()[0]:
        raise DatasetError(f"prepare.{' and '.join(found)} leave no event; raise them")
    return found


def _cap(db: duckdb.DuckDBPyConnection, schema: SearchSchema, who: str, cap: int) -> int:
    earlier = f"rank() OVER (PARTITION BY {who}, time // {DAY_MS} ORDER BY time) - 1"
    left_out = db.execute(
        f"""UPDATE parsed SET malformed = 'capped' WHERE row IN (
            SELECT row FROM (SELECT row, {earlier} AS earlier FROM parsed WHERE {is_candidate(schema)})
            WHERE earlier >= {cap})"""
    ).fetchone()
    return int(left_out[0])
