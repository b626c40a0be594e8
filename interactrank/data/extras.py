"""pyarrow and DuckDB, which the extra ``data`` installs: imported when they are first used.

So that packages which only name a dataset can be imported without them, and a missing one is reported with
its remedy in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interactrank.core.extras import require

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.fs as pafs
    import pyarrow.parquet as pq

__all__ = ["duckdb", "pa", "pafs", "pc", "pq"]


class _Lazy:
    """A module of the extra ``data`` that is imported when one of its names is first used."""

    def __init__(self, package: str) -> None:
        self._package = package

    def __getattr__(self, name: str) -> Any:
        value = getattr(require(self._package, extra="data"), name)
        setattr(self, name, value)  # the next use finds it here
        return value


if not TYPE_CHECKING:
    duckdb, pa = _Lazy("duckdb"), _Lazy("pyarrow")
    pafs, pc, pq = _Lazy("pyarrow.fs"), _Lazy("pyarrow.compute"), _Lazy("pyarrow.parquet")
