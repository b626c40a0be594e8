"""The staged table ``users``; only if the schema has a section ``users``.

One row a user:

    user     VARCHAR     the user's id
    u_*      as in file  the columns that features and segments need
"""

from __future__ import annotations

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import identity
from interactrank.data.raw.staged_columns import request_column, user_columns
from interactrank.data.raw.table import RawTable
from interactrank.schema import SearchSchema

__all__ = ["stage_users"]


def stage_users(db: duckdb.DuckDBPyConnection, log: Place, schema: SearchSchema) -> bool:
    """Make the table; return whether there is one.

    Raises:
        DatasetError: a user is there twice.
    """
    if schema.users is None:
        return False
    wanted, key = user_columns(schema), schema.users.id
    table = RawTable.open(db, log, "users", [key, *wanted])
    rows = table.select(
        lambda types: [
            f'{identity(key, types[key])} AS "user"',
            *(table.value(c, types, request_column(schema, c, "users")) for c in wanted),
        ]
    )
    db.execute(f'CREATE TABLE users AS SELECT * FROM ({rows}) WHERE "user" IS NOT NULL')
    repeated = db.execute('SELECT "user" FROM users GROUP BY 1 HAVING count(*) > 1 LIMIT 1').fetchone()
    if repeated:
        raise DatasetError(
            f"'{table.first}': user id {repeated[0]!r} is there more than once; keep one row for each"
        )
    return True
