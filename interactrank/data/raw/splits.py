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
        return _last_of_train(settings) if s.validation_of_train else "split"
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


def _last_of_train(settings: PrepareSettings) -> str:
    """Return SQL that moves the last train requests to validation, unless the column names some itself."""
    since = "" if settings.train_from is None else f"AND time >= {parse_moment(settings.train_from)}"
    first = f"""(SELECT time FROM (
            SELECT time, row_number() OVER (ORDER BY time) - 1 AS place, count(*) OVER () AS total
            FROM ordered WHERE split = 'train' {since})
        WHERE place = round(total * (1 - {settings.split.validation_of_train})))"""
    named = "EXISTS (SELECT 1 FROM ordered WHERE split = 'validation')"
    return f"CASE WHEN split = 'train' AND NOT {named} AND time >= {first} THEN 'validation' ELSE split END"
