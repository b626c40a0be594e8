"""Whether the columns of a log can be what the schema says."""

from __future__ import annotations

from interactrank.data.errors import DatasetError
from interactrank.data.extras import pa
from interactrank.data.raw.staged_columns import request_column
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import SearchSchema

__all__ = ["check_sequence_columns"]


def check_sequence_columns(log: StagedLog, schema: SearchSchema, items: pa.Table) -> None:
    """Refuse lists in the tables of the user sequence, which give one row to a value."""
    requests = log.table("SELECT * FROM requests LIMIT 0")
    for side, table in (("request", requests), ("item", items)):
        for f in getattr(schema.features, side):
            name = f.column if side == "item" else request_column(schema, f.column, f.file)
            if f.table in schema.sequence_tables and pa.types.is_nested(table[name].type):
                raise DatasetError(
                    f"feature '{f.name}': column '{f.column}' holds lists, but table '{f.table}' is the "
                    "user sequence's, where a value has one row; give the feature a table of its own"
                )
