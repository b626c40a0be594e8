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
    happened = "greatest(event_time, time)"  # greatest() ignores a missing event_time
    each: dict[str, tuple[str, str]] = {  # column -> of one row, of several rows
        "position": ("position", "min(position)"),
        "row": ("row", "min(row)"),
        "true_probability": ("true_probability", "max(true_probability)"),
        "shown": ("shown", "bool_or(shown)"),
    }
    for k in (quote(candidate_column(f.name)) for f in schema.features.candidate):
        each[k] = (k, f"arg_min({k}, row) FILTER ({k} IS NOT NULL)")
    for n in schema.events.engagements:
        e, t = quote(engagement(n)), quote(engagement_time(n))
        each[e] = (e, f"bool_or({e})")
        each[t] = (f"CASE WHEN {e} THEN {happened} ELSE 0 END", f"coalesce(min({happened}) FILTER ({e}), 0)")
    same = f"r.request_id = {request_id(schema, 'p')}"
    rows = f"""(SELECT r.request, p.* FROM parsed p JOIN requests r ON {same}
        WHERE {is_candidate(schema)})"""
    db.execute(
        f"""CREATE TEMP TABLE repeated AS SELECT request, item FROM {rows}
        GROUP BY request, item HAVING count(*) > 1"""
    )
    one, several = (", ".join(f"{form[n]} AS {name}" for name, form in each.items()) for n in (0, 1))
    sql = f"SELECT request, item, {one} FROM {rows}"
    if db.execute("SELECT 1 FROM repeated LIMIT 1").fetchone():  # most logs have none: groups cost more
        sql = f"""{sql} ANTI JOIN repeated USING (request, item)
            UNION ALL SELECT request, item, {several} FROM {rows} SEMI JOIN repeated USING (request, item)
            GROUP BY request, item"""
    db.execute(f"CREATE TABLE candidates AS {sql} ORDER BY request, position, row")
    db.execute("DROP TABLE repeated")
    db.execute("DROP TABLE parsed")
