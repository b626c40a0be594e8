"""Which split a request belongs to."""

from __future__ import annotations

from interactrank.data.settings import PrepareSettings, parse_moment
from interactrank.schema import SearchSchema

__all__ = ["WARMUP", "split_of"]

WARMUP = "warmup"
"""Requests before ``train_from``: they are counted and make user sequences, but are not in the dataset."""


def split_of(schema: SearchSchema, settings: PrepareSettings, count: int) -> str:
    """Return SQL for the split of a row ``o`` of the table ``ordered``, which has ``count`` rows."""
    split = _of_column_or_time(schema, settings, count)
    if settings.train_from is None:
        return split
    since = parse_moment(settings.train_from)
    return f"CASE WHEN time < {since} AND ({split}) = 'train' THEN '{WARMUP}' ELSE {split} END"


def _of_column_or_time(schema: SearchSchema, settings: PrepareSettings, count: int) -> str:
    s = settings.split
    if schema.events.split:
        return "split"
    if s.test_from:
        test = parse_moment(s.test_from)
        validation = parse_moment(s.validation_from or s.test_from)
        at = "time"
    else:
        test = round(count * (1 - s.test_share))
        validation = round(count * (1 - s.test_share - s.validation_share))
        at = "o.rowid"
    return (
        f"CASE WHEN {at} >= {test} THEN 'test' WHEN {at} >= {validation} THEN 'validation' ELSE 'train' END"
    )
