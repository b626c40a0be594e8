"""What does not fit together in a log is counted, said, and refused with --strict."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.data import PreparedDataset
from interactrank.data.errors import DatasetError
from interactrank.data.prepare.remarks import remarks
from tests.data.logs import DAY, START, event, item, minimal, prepared, requests, schema, table, user

ALL_TRAIN = {"split": {"validation_share": 0, "test_share": 0}}
REQUEST, USER = "events.request=request_id", "events.user=user_id"


def counter_ids(folder: Path, **settings: Any) -> PreparedDataset:
    """Two requests that share one id, as where a counter starts again."""
    events = [event("1", "u", "q", "a", 0, click=1), event("1", "v", "p", "b", 9, click=1)]
    events += [event("2", "u", "q", x, 10, click=1) for x in "ab"]
    wanted = minimal(REQUEST, USER)
    return prepared(folder, events, [item(x) for x in "ab"], schema=wanted, settings=ALL_TRAIN | settings)


def test_a_request_of_several_users_is_counted(tmp_path: Path) -> None:
    manifest = counter_ids(tmp_path).manifest
    assert manifest["several_in_request"] == {"user": 1, "query": 1, "time": 1}
    told = " | ".join(remarks(manifest))
    for what in ("users", "queries", "times"):
        assert f"1 requests have rows of several {what}, " in told


def test_a_request_of_several_users_is_refused_with_strict(tmp_path: Path) -> None:
    told = r"1 requests have rows of several users, .*schema\.events\.request \('request_id'\)"
    with pytest.raises(DatasetError, match=told):
        counter_ids(tmp_path, strict=True)


def by_rows(folder: Path, *splits: str, **settings: Any) -> PreparedDataset:
    events = [event("0", "u", "q", "a", 0, click=1, split="train")]
    events += [event("1", "u", "q", x, 9, click=1, split=s) for x, s in zip("abc", splits, strict=False)]
    wanted = minimal(REQUEST, "events.split=split")
    return prepared(folder, events, [item(x) for x in "abc"], schema=wanted, settings=settings)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "test"), "test"),
        (("validation", "train"), "validation"),
        (("test", "validation", "train"), "test"),
    ],
)
def test_a_request_in_two_splits_lies_in_the_last(
    tmp_path: Path, splits: tuple[str, ...], expected: str
) -> None:
    log = by_rows(tmp_path, *splits)
    assert log.manifest["several_in_request"] == {"split": 1}
    assert [len(r["candidates"]) for r in requests(log, expected)] == [len(splits)]
    assert [r["request_id"] for r in requests(log)] == ["0"]


def test_a_request_in_two_splits_is_refused_with_strict(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="1 requests have rows of several splits"):
        by_rows(tmp_path, "train", "test", strict=True)


def test_a_log_that_is_split_by_rows(tmp_path: Path) -> None:
    events = [event("1", "u", "q", x, 0, click=1, split=s) for x, s in (("a", "train"), ("b", "test"))]
    told = r"no request lies in the train split alone: 1 have rows of several splits \('split'\)"
    with pytest.raises(DatasetError, match=told):
        prepared(tmp_path, events, [item(x) for x in "ab"], schema=minimal(REQUEST, "events.split=split"))


# Times of engagements.


def clicks(folder: Path, *minutes: float, **settings: Any) -> PreparedDataset:
    """Requests of minutes 10, 20, ... with clicks at the given ones."""
    events = [
        event(
            str(n), "u", "q", "a", 10 * n, click=1, event_time=None if m is None else START + int(m * 60_000)
        )
        for n, m in enumerate(minutes, 1)
    ]
    wanted = minimal(
        REQUEST,
        "events.event_time=event_time",
        "cross_features=[{kind: iqp, key: query, engagement: click}]",
    )
    return prepared(folder, events, [item("a")], schema=wanted, settings=ALL_TRAIN | settings)


def test_an_engagement_before_its_request_is_counted(tmp_path: Path) -> None:
    log = clicks(tmp_path, 11, 12, 35)  # the second is 8 minutes early: it counts from its request on
    assert log.manifest["before_request"] == 1
    assert "1 engagements have an event_time before their request" in remarks(log.manifest)[0]
    assert [r["cross.support"] for r in requests(log)] == [[0], [1], [2]]


@pytest.mark.parametrize(("minutes", "settings"), [((9, 19, 31), {}), ((11, 19, 31), {"strict": True})])
def test_engagements_before_their_requests_are_refused(
    tmp_path: Path, minutes: tuple[float, ...], settings: dict[str, bool]
) -> None:
    with pytest.raises(DatasetError, match=r"of 3 engagements have an 'event_time' before the 'timestamp'"):
        clicks(tmp_path, *minutes, **settings)


def test_an_event_time_in_seconds(tmp_path: Path) -> None:
    """Its own unit is told: a click of the next day is not known to the request after."""
    events = [
        event(str(n), "u", "q", "a", 10 * n, click=1, event_time=(START + DAY) // 1000 + n) for n in range(2)
    ]
    wanted = minimal(
        "events.event_time=event_time", "cross_features=[{kind: iqp, key: query, engagement: click}]"
    )
    log = prepared(tmp_path, events, [item("a")], schema=wanted, settings=ALL_TRAIN)
    assert [r["cross.support"] for r in requests(log)] == [[0], [0]]


# Ids.


def with_column(events: list[dict[str, Any]], name: str, values: Any) -> pa.Table:
    rows = table(events)
    return rows.set_column(rows.schema.get_field_index(name), name, values)


def test_nan_is_not_an_id(tmp_path: Path) -> None:
    nan = float("nan")
    events = [event("r", "u", "q", x, n, click=1) for n, x in enumerate("abc")]
    rows = with_column(events, "user_id", pa.array([1.0, nan, nan], from_pandas=False))
    log = prepared(tmp_path, rows, [item(x) for x in "abc"], schema=minimal(USER), settings=ALL_TRAIN)
    assert (log.manifest["malformed"], [r["user"] for r in requests(log)]) == ({"null user_id": 2}, ["1"])


@pytest.mark.parametrize(
    "sessions",
    [pa.array([None] * 3, pa.string()), pa.array([float("nan")] * 3, from_pandas=False), pa.array([""] * 3)],
)
def test_a_session_without_an_id_is_not_a_session(tmp_path: Path, sessions: pa.Array) -> None:
    events = [event(str(n), "u", "q", x, n, click=1) for n, x in enumerate("abc")]
    wanted = minimal(
        USER,
        "events.session=session_id",
        "features.item=[{name: item, kind: id, column: item_id, table: item}]",
        "tables={item: {dim: 4}}",
        "sequence={item: item, end: session}",
    )
    rows = with_column(events, "session_id", sessions)
    log = prepared(tmp_path, rows, [item(x) for x in "abc"], schema=wanted, settings=ALL_TRAIN)
    assert [len(r["events.item"]) for r in requests(log)] == [0, 1, 2]


def test_one_id_in_three_types(tmp_path: Path) -> None:
    """Users are integers in events and fractions in users; items are text here and integers there."""
    events = [event("r", 7, "q", "7", 0, click=1), event("s", 8, "q", "007", 1, click=1)]
    items = with_column([item("a")], "item_id", pa.array([7]))
    users = [{**user("x"), "user_id": 7.0}, {**user("y", "us"), "user_id": 9.0}]
    log = prepared(tmp_path, table(events), items, users, schema=schema())
    assert [(r["user"], r["segment.country"]) for r in requests(log)] == [("7", "de")]
    assert log.manifest["malformed"] == {"item_id not in items": 1}
    assert log.manifest["unmatched"] == [
        "1 of 2 distinct item_id are not in items, such as '007'; items has '7' "
        "(some differ from those of items in leading zeros alone)"
    ]


@pytest.mark.parametrize(
    ("written", "why"),
    [("U ", "blanks around"), ("u", "upper and lower case"), ("x", None)],
)
def test_what_does_not_join_is_said(
    tmp_path: Path, written: str, why: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    events = [event(who, who, "q", "a", 0, click=1) for who in ("U", "V")]
    with caplog.at_level(logging.WARNING, "interactrank"):
        prepared(tmp_path, events, [item("a")], [user(written), user("V")], schema=schema())
    said = next(m for m in caplog.messages if "user_id" in m)
    assert said.startswith("1 of 2 distinct user_id are not in users, such as 'U'; users has '")
    assert (why is None) == ("differ" not in said)
    assert why is None or f"in {why} alone" in said


def test_another_unicode_form(tmp_path: Path) -> None:
    events = [event("r", "\u00fc", "q", "a", 0, click=1)]
    log = prepared(tmp_path, events, [item("a")], [user("u\u0308")], schema=schema())
    assert "in their Unicode form alone" in log.manifest["unmatched"][0]


def test_nan_is_not_shown(tmp_path: Path) -> None:
    """A column of positions that pandas wrote: NaN in the rows that are not of a list."""
    events = [event("r", "u", "q", x, 0, click=1) for x in "ab"]
    rows = with_column(events, "position", pa.array([1.0, float("nan")], from_pandas=False))
    wanted = minimal(
        REQUEST,
        "events.impressions=position",
        "cross_features=[{kind: iqp, key: all, engagement: click, statistic: rate}]",
    )
    log = prepared(tmp_path, rows, [item(x) for x in "ab"], schema=wanted, settings=ALL_TRAIN)
    assert log.manifest["malformed"] == {}
    assert [len(r["candidates"]) for r in requests(log)] == [2]


# Layouts.


def test_csv_of_spark(tmp_path: Path) -> None:
    log = tmp_path / "query=foo" / "[log] *"
    (log / "events").mkdir(parents=True)
    (log / "events" / "_SUCCESS").touch()
    head = "query,item_id,timestamp,click\n"
    (log / "events" / "part-0.csv").write_text(f"{head}bar,007,2024-01-01 00:00:00,true\nbar,8,,0\n")
    (log / "events" / "part-1.csv").write_text(f"{head}bar,8,{START // 1000},1\n")
    pq.write_table(pa.table({"item_id": ["007", "8"], "title": ["x", "y"]}), log / "items.parquet")
    from interactrank.core.settings import parse_config
    from interactrank.data import prepare_log
    from interactrank.data.settings import PrepareSettings

    found = prepare_log(log, tmp_path / "out", minimal(), parse_config(PrepareSettings, ALL_TRAIN))
    assert (found["events"], found["malformed"]) == (3, {"null or unparsable timestamp": 1})
    (row,) = requests(PreparedDataset(tmp_path / "out"))
    assert (row["query"], row["time"], row["candidates"], row["labels"]) == ("bar", START, [0, 1], [1, 1])
