"""The rules of managed ID tables that both the schema and the modules ask for."""

from __future__ import annotations

__all__ = ["ID_LIMIT", "MAX_BUCKETS", "bucket_problem"]

ID_LIMIT = 1 << 62
"""Ids of managed tables are below it: TorchRec multiplies a bucket's share by the buckets, in int64."""

MAX_BUCKETS = 1024
"""The most buckets of a table that TorchRec has."""


def bucket_problem(*, rows: int, buckets: int) -> str | None:
    """Return why a table of ``rows`` rows cannot have ``buckets`` equal parts; None if it can.

    Example::

        >>> bucket_problem(rows=10, buckets=4)
        '10 rows do not make 4 buckets of the same size, with 2 rows or more each; take a multiple of 4'
    """
    if not 1 <= buckets <= MAX_BUCKETS:
        return f"buckets is {buckets}; it must be between 1 and {MAX_BUCKETS}"
    if rows % buckets or rows < 2 * buckets:
        return (
            f"{rows} rows do not make {buckets} buckets of the same size, with 2 rows or more each; "
            f"take a multiple of {buckets}"
        )
    return None
