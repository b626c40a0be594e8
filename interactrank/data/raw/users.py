"""The staged table ``users``; only if the schema has a section ``users``.

One row a user:

    user     VARCHAR     the user's id
    u_*      as in file  the columns that features and segments need
"""

from __future__ import annotations

from pathlib import Path

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.files import columns_of, find_parquet
from interactrank.data.raw.sql import quote, text
from interactrank.data.raw.staged_columns import request_column, user_columns
from interactrank.schema import SearchSchema

__all__ = ["stage_users"]


def stage_users(db: duckdb.DuckDBPyConnection, log: Path, schema: SearchSchema) -> bool:
    """Make the table; return whether there is one.

    Raises:
        DatasetError: a user is there twice.
    """
    if schema.users is None:
        return False
    files = find_parquet(log, "users")
    wanted = user_columns(schema)
    columns_of(db, files, [schema.users.id, *wanted])
    others = "".join(f", {quote(c)} AS {quote(request_column(schema, c, 'users'))}" for c in wanted)
    db.execute(
        f"""CREATE TABLE users AS SELECT {text(schema.users.id)} AS "user"{others} FROM read_parquet(?)
        WHERE {quote(schema.users.id)} IS NOT NULL""",
        [files],
    )
    repeated = db.execute('SELECT "user" FROM users GROUP BY 1 HAVING count(*) > 1 LIMIT 1').fetchone()
    if repeated:
        raise DatasetError(
            f"'{files[0]}': user id {repeated[0]!r} is there more than once; keep one row for each"
        )
    return True
