"""IdTable: an ID table of the schema, and how values become its rows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from interactrank.core.managed_ids import MAX_BUCKETS, bucket_problem
from interactrank.core.settings import Config

EVICTION = ("eviction", "eviction_interval", "buckets")  # keys of managed tables


class IdTable(Config):
    """An embedding table and how values become its rows.

    - ``ids: vocabulary``: the values that training has at least ``min_count`` times, at most ``max_rows`` of
      them, get rows of their own; row 0 stands for all others.
    - ``ids: hash``: the row of a value is ``1 + hash(value) mod (rows - 1)``; row 0 is for a missing value.
    - ``ids: managed``: training gives rows to the values that are frequent or recent at the time, see
      :class:`interactrank.modules.ManagedIds`; all others share one row of their bucket.
    """

    dim: int = Field(ge=4, multiple_of=4, description="width; FBGEMM's kernels need a multiple of 4")
    ids: Literal["vocabulary", "hash", "managed"] = Field(
        "vocabulary", description="how values become rows: counted by prepare, hashed, or managed by training"
    )
    min_count: int = Field(1, ge=1, description="how often training must have a value of a vocabulary")
    max_rows: int = Field(10_000_000, ge=2, description="most rows of a vocabulary; the frequent ones stay")
    rows: int | None = Field(None, ge=2, description="rows of a hashed or managed table")
    eviction: Literal["lfu", "lru", "distance_lfu"] = Field(
        "lfu", description="which values keep a row of a managed table"
    )
    eviction_interval: int = Field(
        100, ge=1, description="steps between two changes of a managed table's rows"
    )
    buckets: int = Field(
        8, ge=1, le=MAX_BUCKETS, description="parts of a managed table; the number of ranks must divide it"
    )
    pooling: Literal["mean", "sum"] = Field(
        "mean", description="how the rows of a feature with several values become one vector"
    )

    @model_serializer(mode="wrap")
    def _without_others(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the keys of managed tables for those only: datasets prepared without any stay valid."""
        return {k: v for k, v in dump(self).items() if self.ids == "managed" or k not in EVICTION}

    def problems(self) -> list[str]:
        """Return what is wrong: tables of each kind are sized by keys of their own."""
        found = []
        if self.ids == "vocabulary" and self.rows is not None:
            found.append("rows goes with ids: hash or managed (a vocabulary counts its own rows)")
        if self.ids != "vocabulary" and self.rows is None:
            found.append(f"rows is missing: ids: {self.ids} needs the table's size, such as rows: 100000")
        changed = {k for k, field in type(self).model_fields.items() if getattr(self, k) != field.default}
        for key in ("min_count", "max_rows"):
            if self.ids != "vocabulary" and key in changed:
                found.append(f"{key} goes with ids: vocabulary (a table of given rows counts no values)")
        for key in EVICTION:
            if self.ids != "managed" and key in changed:
                found.append(f"{key} goes with ids: managed")
        if self.ids == "managed" and self.rows is not None:
            problem = bucket_problem(rows=self.rows, buckets=self.buckets)
            found += [f"{problem}, or other buckets"] if problem else []
        return found
