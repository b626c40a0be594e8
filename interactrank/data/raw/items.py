"""The staged table ``items``.

One row an item, in the order of the items file:

    id       VARCHAR     the item's id
    c_*      as in file  the columns that features and text matches need
"""

from __future__ import annotations

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import identity
from interactrank.data.raw.staged_columns import item_column, item_columns
from interactrank.data.raw.table import RawTable
from interactrank.schema import SearchSchema

__all__ = ["stage_items"]


def stage_items(db: duckdb.DuckDBPyConnection, log: Place, schema: SearchSchema) -> int:
    """Make the table and return its number of rows.

    Raises:
        DatasetError: there are no items, or an id is missing or there twice.
    """
    wanted, key = item_columns(schema), schema.items.id
    table = RawTable.open(db, log, "items", wanted)
    rows = table.select(
        lambda types: [
            f"{identity(key, types[key])} AS id",
            *(table.value(c, types, item_column(schema, c)) for c in wanted if c != key),
        ]
    )
    db.execute(f"CREATE TABLE items AS {rows}")
    count, nulls, distinct = db.execute(
        "SELECT count(*), count(*) - count(id), count(DISTINCT id) FROM items"
    ).fetchone()
    if count == 0:
        raise DatasetError(f"'{table.first}' has no items")
    if nulls:
        raise DatasetError(
            f"'{table.first}': {nulls} items have no {schema.items.id}; remove them or give them ids"
        )
    if distinct < count:
        repeated = db.execute(
            "SELECT id FROM items GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 3"
        ).fetchall()
        raise DatasetError(
            f"'{table.first}': {count - distinct} rows repeat an item id, such as "
            f"{', '.join(repr(r[0]) for r in repeated)}; keep one row for each item"
        )
    return int(count)
