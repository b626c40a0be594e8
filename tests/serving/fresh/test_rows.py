"""Rows are read as prepare reads them; what is wrong is said of the row."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from interactrank.serving.errors import RequestError
from interactrank.serving.fresh.rows import CLOCK_SKEW_MS, NEVER, EventReader, EventRows
from tests.data import logs

NOW = logs.START + logs.DAY
MINUTE = logs.MINUTE


def item_rows(ids: Any) -> Any:
    return np.array([int(i[1:]) if i[1:].isdigit() else -1 for i in ids], np.int64)


def read(*rows: dict[str, Any], schema: Any = None, now: int | None = NOW) -> EventRows:
    reader = EventReader(schema or logs.schema(), item_rows, ["hour"])
    return reader.read(reader.columns(rows), now)


def event(**others: Any) -> dict[str, Any]:
    return logs.event("r1", "u1", " red shoe ", "i3", 5, **others)


def test_a_row_says_what_happened_and_when() -> None:
    time = logs.START + 5 * MINUTE
    late = time + 1000
    found = read(event(click=2, event_time=late), event(save=1, event_time=time - 1), event(item_id="zz"))
    assert found.item == [3, 3, -1]
    assert found.time == [time] * 3
    assert found.shown == [True] * 3
    assert found.happened == [(late, NEVER), (NEVER, time), (NEVER, NEVER)]  # not before its request
    assert found.request == ["r1"] * 3
    assert found.facts[0] == ("red shoe", "u1", "r1", str(5 / 60))
    assert found.unknown == ["zz"]


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 1, 0, 5),
        datetime(2024, 1, 1, 1, 5, tzinfo=timezone(timedelta(hours=1))),
        "2024-01-01T00:05:00Z",
        "2024-01-01 00:05:00",
        1_704_067_500,
        1_704_067_500.0,
        1_704_067_500_000,
        1_704_067_500_000_000,
        np.int64(1_704_067_500_000_000_000),
        "1704067500",
    ],
)
def test_a_time_may_be_written_as_in_any_log(value: Any) -> None:
    assert read(event(timestamp=value)).time == [logs.START + 5 * MINUTE]


def test_the_schema_says_the_unit() -> None:
    schema = logs.schema("events.time_unit=s")
    assert read(event(timestamp=90), schema=schema).time == [90_000]


def test_without_a_column_of_requests_user_query_and_time_make_one() -> None:
    schema = logs.schema(without=("events.request",))
    same, other = read(event(), event() | {"user_id": "u2"}, schema=schema).request
    assert same != other
    assert read(event(item_id="i4"), schema=schema).request == [same]


def test_impressions_may_be_a_column_or_not_known() -> None:
    column = logs.schema("events.impressions=shown")
    assert read(event(shown=1), event(shown=0), event(shown=None), schema=column).shown == [
        True,
        False,
        False,
    ]
    none = logs.schema("events.impressions=false", without=("cross_features",))
    assert read(event(), schema=none).shown == [False]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"item_id": None}, "event 1: 'item_id' is empty; every event needs one"),
        ({"user_id": ""}, "event 1: 'user_id' is empty"),
        ({"query": "  "}, "event 1: 'query' must be text that is not empty, found '  '"),
        ({"query": 7}, "event 1: 'query' must be text"),
        ({"timestamp": None}, "event 1: 'timestamp' must be a datetime, its text by ISO 8601 or a number"),
        ({"timestamp": "yesterday"}, "event 1: 'timestamp' must be a datetime, .* found 'yesterday'"),
        ({"timestamp": 12}, "event 1: 'timestamp' must be a datetime"),
        ({"event_time": "late"}, "event 1: 'event_time' must be a datetime"),
        ({"click": -1}, "event 1: 'click' must be a count of 0 or more, found -1"),
        ({"click": "yes"}, "event 1: 'click' must be a count"),
        ({"save": float("nan")}, "event 1: 'save' must be a count"),
        (
            {"timestamp": NOW + CLOCK_SKEW_MS + 1},
            "event 1: 'timestamp' is in the future .* 60 s from now",
        ),
        ({"event_time": NOW + 5 * MINUTE}, "event 1: 'event_time' is in the future .*check the unit"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read(event(), event() | wrong)


def test_a_clock_may_be_a_little_ahead() -> None:
    assert read(event(timestamp=NOW + CLOCK_SKEW_MS)).time == [NOW + CLOCK_SKEW_MS]
    assert read(event(timestamp=NOW + logs.DAY), now=None).time == [NOW + logs.DAY]  # of a log that is read


@pytest.mark.parametrize("name", ["item_id", "query", "timestamp", "user_id", "request_id", "click", "hour"])
def test_an_absent_column_is_named_with_its_row(name: str) -> None:
    row = event()
    row[f"{name}s"] = row.pop(name)
    with pytest.raises(RequestError, match=f"event 1 has no '{name}'; did you mean '{name}s'"):
        read(event(), row)


def test_what_the_schema_does_not_name_may_be_absent_or_more() -> None:
    row = event(anything=[1])
    for name in ("session_id", "event_time", "split", "position"):
        del row[name]
    found = read(row, event())
    assert found.facts[0][:3] == ("red shoe", "u1", None)
    reader = EventReader(logs.schema(), item_rows)
    assert reader.columns([row, event()])["anything"] == [[1], None]


def test_a_log_of_another_schema_is_told() -> None:
    reader = EventReader(logs.schema(), item_rows)
    columns = reader.columns([event()])
    del columns["save"]
    with pytest.raises(RequestError, match="they have no 'save', which the schema of this export reads"):
        reader.checked(columns)


def test_no_rows_are_none() -> None:
    assert read().item == []
    assert EventRows.together([]).item == []
