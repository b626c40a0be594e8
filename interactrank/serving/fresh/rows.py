"""EventReader: rows of the log's events file that happen now, checked, and read as ``prepare`` reads a log.

Shapes: E rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from interactrank.core.ids import id_text
from interactrank.core.settings import near
from interactrank.cross_features.pair_index import Int64s
from interactrank.data.raw.staged_columns import event_columns
from interactrank.data.raw.time_units import UNITS_MS
from interactrank.schema import SearchSchema
from interactrank.serving.errors import RequestError

__all__ = ["CLOCK_SKEW_MS", "NEVER", "EventReader", "EventRows", "now_ms", "some_rows"]

CLOCK_SKEW_MS = 60_000  # that much ahead may the clock of another machine be
NEVER = int(np.iinfo(np.int64).max)
PLAIN = frozenset((int, bool, type(None)))
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIRST_MS, LAST_MS = 315_532_800_000, 7_258_118_400_000  # 1980 to 2200, whose units have different lengths


@dataclass(frozen=True)
class EventRows:
    """E rows.

    Args:
        item: [E] row of the catalogue; -1 for an item that it does not have.
        time: [E] milliseconds of the request.
        shown: whether the row is an impression.
        happened: for each row the milliseconds of each engagement, :data:`NEVER` for one that did not happen.
        request: what rows of one request share.
        facts: what is known of each row's request: query, user, session and what else counting reads.
        unknown: ids of the items that the catalogue does not have.
    """

    item: list[int]
    time: list[int]
    shown: list[bool]
    happened: list[tuple[int, ...]]
    request: list[str]
    facts: list[tuple[Any, ...]]
    unknown: list[str] = field(default_factory=list)

    @classmethod
    def together(cls, parts: Sequence[EventRows]) -> EventRows:
        """Return the rows of several, one after the other."""
        names = [f.name for f in fields(cls)]
        return cls(**{name: [v for part in parts for v in getattr(part, name)] for name in names})

    @classmethod
    def none(cls) -> EventRows:
        """Return no rows."""
        return cls([], [], [], [], [], [])


class EventReader:
    """Reads rows.

    A row is a mapping with the columns of the log's events file: those that the schema names and that request
    features and segments read, None where a value is not known; others may be there. A time is a
    ``datetime``, its text by ISO 8601, or a number since 1970 as in the log.

    Args:
        schema: what the columns mean.
        item_rows: item ids -> rows of the catalogue, -1 for unknown ones.
        fact_columns: columns of the events file that facts have after query, user and session.
    """

    def __init__(
        self,
        schema: SearchSchema,
        item_rows: Callable[[Sequence[str]], Int64s],
        fact_columns: Sequence[str] = (),
    ) -> None:
        self.schema, self.item_rows, self.fact_columns = schema, item_rows, list(fact_columns)
        e = schema.events
        needed = [e.item, e.query, e.time, e.user, e.request, e.impression_column, *e.engagements.values()]
        self.needed = list(dict.fromkeys([c for c in needed if c is not None] + event_columns(schema)))

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Return rows as columns, in which an absent value is None.

        Raises:
            RequestError: a row lacks a column that is needed; names the row and the column.
        """
        names = list(rows[0]) if rows else []
        known = set(names)
        for row in rows:
            if row.keys() != known:
                names = list(dict.fromkeys(name for row in rows for name in row))
                break
        else:  # all rows have the same columns, so that the first speaks for them
            known = set(self.needed) - known
        for name in self.needed if known else ():
            for n, row in enumerate(rows):
                if name not in row:
                    others = [c for c in row if c not in self.needed]
                    raise RequestError(
                        f"event {n} has no '{name}'{near(name, others)}; give None if it is not known"
                    )
        return {name: [row.get(name) for row in rows] for name in names}

    def checked(self, columns: Mapping[str, list[Any]]) -> Mapping[str, list[Any]]:
        """Return columns that are complete.

        Raises:
            RequestError: one is missing, as a log has that was written for another schema.
        """
        for name in self.needed:
            if name not in columns:
                raise RequestError(f"they have no '{name}', which the schema of this export reads")
        return columns

    def read(self, columns: Mapping[str, list[Any]], now: int | None = None) -> EventRows:
        """Read rows.

        Args:
            columns: of :meth:`columns`.
            now: milliseconds that no row may be later than; None for any.

        Raises:
            RequestError: a value cannot be read, or is in the future; names the row and the column.
        """
        e = self.schema.events
        size = len(columns[e.item]) if columns else 0
        none = [None] * size
        items = self._ids(columns, e.item)
        rows = self.item_rows(items).tolist()
        times = self._times(columns, e.time, now)
        own = columns.get(e.event_time or "", none)
        late = times if own.count(None) == size else self._late(columns, times, now)
        users = self._ids(columns, e.user) if e.user else none
        queries = self._queries(columns[e.query] if size else [])
        sessions = [id_text(v) for v in columns.get(e.session or "", none)]
        if e.request:
            requests = self._ids(columns, e.request)
        else:
            requests = [f"{u or ''}\x1f{q}\x1f{t}" for u, q, t in zip(users, queries, times, strict=True)]
        more = [[id_text(v) for v in columns.get(name, none)] for name in self.fact_columns]
        counts = [self._counts(columns[c] if size else [], c) for c in e.engagements.values()]
        happened = [
            tuple(t if count > 0 else NEVER for count in of_row)
            for t, of_row in zip(late, zip(*counts, strict=True), strict=True)
        ]
        return EventRows(
            item=rows,
            time=times,
            shown=self._shown(columns, size),
            happened=happened,
            request=requests,
            facts=list(zip(queries, users, sessions, *more, strict=True)),
            unknown=list(dict.fromkeys(i for i, row in zip(items, rows, strict=True) if row < 0)),
        )

    def _ids(self, columns: Mapping[str, list[Any]], name: str) -> list[str]:
        found = [_id(v) for v in columns.get(name, [])]
        if None in found:
            raise RequestError(f"event {found.index(None)}: '{name}' is empty; every event needs one")
        return found  # type: ignore[return-value]  # None is not in it

    def _queries(self, values: list[Any]) -> list[str]:
        for n, value in enumerate(values):
            if not isinstance(value, str) or not value.strip():
                raise RequestError(
                    f"event {n}: '{self.schema.events.query}' must be text that is not empty, found {value!r}"
                )
        return [value.strip() for value in values]

    def _times(self, columns: Mapping[str, list[Any]], name: str, now: int | None) -> list[int]:
        values = columns.get(name, [])
        found = [self._time(n, name, v) for n, v in enumerate(values)]
        _check_past(name, values, found, now)
        return found

    def _late(self, columns: Mapping[str, list[Any]], times: list[int], now: int | None) -> list[int]:
        """Return when the engagements of each row happened: not before the request."""
        name = str(self.schema.events.event_time)
        values = columns[name]
        found = [
            t if v is None else max(t, self._time(n, name, v))
            for n, (v, t) in enumerate(zip(values, times, strict=True))
        ]
        _check_past(name, values, found, now)
        return found

    def _time(self, n: int, name: str, value: Any) -> int:
        if type(value) is int and self.schema.events.time_unit is None and FIRST_MS <= value <= LAST_MS:
            return value  # as most are
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                value = _number(value)
        if isinstance(value, datetime):
            zoned = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
            return (zoned - EPOCH) // timedelta(milliseconds=1)
        if (
            isinstance(value, int | float | np.number)
            and not isinstance(value, bool)
            and math.isfinite(value)
        ):
            unit = self.schema.events.time_unit
            if unit is not None:
                return round(value * UNITS_MS[unit])
            for scale in UNITS_MS.values():
                if FIRST_MS <= value * scale <= LAST_MS:
                    return round(value * scale)
        raise RequestError(
            f"event {n}: '{name}' must be a datetime, its text by ISO 8601 or a number since 1970, found "
            f"{value!r}"
        )

    def _counts(self, values: list[Any], name: str) -> list[float]:
        found = [0.0 if v is None else v for v in values]
        if PLAIN.issuperset(map(type, values)) and not any(v < 0 for v in found):
            return found  # as most are; an infinity is a float
        for n, value in enumerate(found):
            if not isinstance(value, int | float | np.number | np.bool_) or not 0 <= value < math.inf:
                raise RequestError(f"event {n}: '{name}' must be a count of 0 or more, found {values[n]!r}")
        return found

    def _shown(self, columns: Mapping[str, list[Any]], size: int) -> list[bool]:
        name = self.schema.events.impression_column
        if name is None:
            return [bool(self.schema.events.impressions)] * size
        return [count > 0 for count in self._counts(columns[name] if size else [], name)]


def _check_past(name: str, values: list[Any], found: list[int], now: int | None) -> None:
    if now is not None and found and max(found) > now + CLOCK_SKEW_MS:
        n = found.index(max(found))
        raise RequestError(
            f"event {n}: '{name}' is in the future ({values[n]!r}, {(found[n] - now) // 1000:,} s from now); "
            "check the unit, the time zone (UTC) and the clock"
        )


def some_rows(rows: EventRows, which: Sequence[int]) -> EventRows:
    """Return some of the rows."""
    names = [f.name for f in fields(rows) if f.name != "unknown"]
    return EventRows(**{name: [getattr(rows, name)[n] for n in which] for name in names})


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _id(value: Any) -> str | None:
    """Return what :func:`id_text` does, sooner for most."""
    if type(value) is str and value and value[-1] != "0":
        return value
    return str(value) if type(value) is int else id_text(value)


def _number(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value
