"""The staged table ``candidates``.

One row for each request and item, in order of request, position and row:

    request           BIGINT   row of ``requests``
    item              INTEGER  rowid in ``items``
    position          DOUBLE   smallest position; NULL without events.position
    row               BIGINT   first row in the log
    true_probability  DOUBLE   NULL without events.true_probability
    shown             BOOLEAN  whether it was an impression
    k_*               DOUBLE or VARCHAR  each candidate feature, of the first row that has it
    e_*               BOOLEAN  whether the engagement happened
    t_*               BIGINT   milliseconds since 1970 of when it happened first; 0 if it did not
"""

from __future__ import annotations

from interactrank.data.extras import duckdb
from interactrank.data.raw.events import is_candidate
from interactrank.data.raw.requests import request_id
from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import candidate_column, engagement, engagement_time
from interactrank.schema import SearchSchema

__all__ = ["stage_candidates"]


def stage_candidates(db: duckdb.DuckDBPyConnection, schema: SearchSchema) -> None:
    """Make the table of ``parsed`` and ``requests``, and drop ``parsed``."""
    happened = "greatest(p.event_time, p.time)"  # greatest() ignores a missing event_time
    engagements = [
        f"""bool_or(p.{e} > 0) AS {e}, coalesce(min({happened}) FILTER (p.{e} > 0), 0) AS {t}"""
        for n in schema.events.engagements
        for e, t in [(quote(engagement(n)), quote(engagement_time(n)))]
    ]
    given = "".join(
        f", arg_min(p.{k}, p.row) FILTER (p.{k} IS NOT NULL) AS {k}"
        for k in (quote(candidate_column(f.name)) for f in schema.features.candidate)
    )
    db.execute(
        f"""CREATE TABLE candidates AS
        SELECT r.request, p.item, min(p.position) AS position, min(p.row) AS row,
            max(p.true_probability) AS true_probability, bool_or(p.shown) AS shown{given},
            {", ".join(engagements)}
        FROM parsed p JOIN requests r ON r.request_id = {request_id(schema, "p")}
        WHERE {is_candidate(schema)} GROUP BY 1, 2 ORDER BY r.request, position, row"""
    )
    db.execute("DROP TABLE parsed")
