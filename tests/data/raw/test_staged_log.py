"""Reading raw logs: grouping, times, splits, malformed rows, and every stop with its one line."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.core.settings import parse_config
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.settings import PrepareSettings
from tests.data.logs import (
    HOUR,
    START,
    event,
    item,
    minimal,
    prepared,
    requests,
    schema,
    table,
    user,
    write_log,
)

UTC = datetime.timezone.utc
ALL_TRAIN = {"split": {"validation_share": 0, "test_share": 0}}
REQUEST, USER = "events.request=request_id", "events.user=user_id"


def grouped(tmp_path: Path, events: Any, *overrides: str) -> list[dict[str, Any]]:
    log = prepared(tmp_path, events, [item(x) for x in "abc"], schema=minimal(*overrides), settings=ALL_TRAIN)
    return requests(log)


# Grouping.


def test_grouping_by_user_query_and_time(tmp_path: Path) -> None:
    events = [
        event("", "u", "q", "a", 1, click=1),
        event("", "v", "q", "a", 1, click=1),
        event("", "u", " q ", "b", 1, click=1),  # blanks at the ends do not count
        event("", "u", "p", "c", 1, click=1),
        event("", "u", "q", "c", 2, click=1),
    ]
    rows = grouped(tmp_path, events, USER)
    assert [(r["user"], r["query"], r["candidates"]) for r in rows] == [
        ("u", "p", [2]),
        ("u", "q", [0, 1]),
        ("v", "q", [0]),
        ("u", "q", [2]),
    ]


def test_grouping_without_user(tmp_path: Path) -> None:
    events = [event("", who, "q", x, 1, click=1) for who, x in (("u", "a"), ("v", "b"))]
    rows = grouped(tmp_path, events)
    assert [(r["user"], r["candidates"]) for r in rows] == [(None, [0, 1])]


def test_grouping_by_request_column_takes_the_earliest_time(tmp_path: Path) -> None:
    # Here each row has the time of its click: the request began with the first.
    events = [
        event("r", "u", "q", "b", 5, click=1),
        event("r", "u", "q", "a", 3, click=1),
        event("s", "u", "q", "c", 4, click=1),
    ]
    rows = grouped(tmp_path, events, REQUEST, "cross_features=[{kind: iqp, key: query, engagement: click}]")
    assert [(r["candidates"], r["time"] - START) for r in rows] == [([1, 0], 180_000), ([2], 240_000)]
    # At minute 4 only the click of minute 3 has happened.
    assert rows[1]["cross.support"] == [1]


def test_rows_of_one_item_are_one_candidate(tmp_path: Path) -> None:
    events = [event("r", "u", "q", "a", 0, click=n) for n in (0, 2, 0)]
    rows = grouped(tmp_path, events, REQUEST, "events.impressions=true")
    assert [(r["candidates"], r["labels"]) for r in rows] == [([0], [1])]


def test_without_impressions_rows_without_engagement_are_left_out_and_counted(tmp_path: Path) -> None:
    events = [
        event("r", "u", "q", "a", 0, click=1),
        event("r", "u", "q", "b", 0),
        event("s", "u", "q", "b", 0),
    ]
    log = prepared(tmp_path, events, [item("a"), item("b")], schema=minimal(REQUEST), settings=ALL_TRAIN)
    assert [r["candidates"] for r in requests(log)] == [[0]]
    assert (log.manifest["without_engagement"], log.manifest["malformed"]) == (2, {})


def test_integer_ids_everywhere(tmp_path: Path) -> None:
    events = table([event("r", "u", "q", "a", 0, click=1)])
    events = events.set_column(events.schema.get_field_index("item_id"), "item_id", pa.array([7]))
    items = table([item("a")]).set_column(0, "item_id", pa.array([7]))
    log = prepared(tmp_path, events, items, schema=minimal(), settings=ALL_TRAIN)
    assert log.items.ids == ["7"]
    assert requests(log)[0]["candidates"] == [0]


# Times.

MOMENT = datetime.datetime(2024, 1, 1, 5, 30, tzinfo=UTC)
MS = START + 5 * HOUR + HOUR // 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([MOMENT], pa.timestamp("us", tz="UTC")), MS),
        (pa.array([MOMENT], pa.timestamp("ms", tz="Asia/Tokyo")), MS),  # the zone is how it is shown
        (pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ns")), MS),
        (pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("s")), MS),
        (pa.array([MOMENT.date()], pa.date32()), START),
        (pa.array([MS], pa.int64()), MS),
        (pa.array([float(MS)], pa.float64()), MS),
        (pa.array(["2024-01-01 05:30:00"]), MS),
        (pa.array(["2024-01-01T05:30:00Z"]), MS),
        (pa.array(["2024-01-01T07:30:00+02:00"]), MS),
        (pa.array(["2024-01-01"]), START),
    ],
)
def test_types_of_time(tmp_path: Path, values: pa.Array, expected: int) -> None:
    events = table([event("r", "u", "q", "a", 0, click=1)])
    events = events.set_column(events.schema.get_field_index("timestamp"), "timestamp", values)
    assert [r["time"] for r in grouped(tmp_path, events)] == [expected]


def test_a_type_that_is_no_time(tmp_path: Path) -> None:
    events = table([event("r", "u", "q", "a", 0, click=1)])
    events = events.set_column(events.schema.get_field_index("timestamp"), "timestamp", pa.array([[1]]))
    with pytest.raises(DatasetError) as error:
        grouped(tmp_path, events)
    assert "\n" not in str(error.value)


# Splits.


def splits(tmp_path: Path, settings: dict[str, Any], *overrides: str, **columns: list[Any]) -> dict[str, Any]:
    events = [
        event(f"r{n}", "u", "q", "a", n * 1440, click=1, **{k: v[n] for k, v in columns.items()})
        for n in range(10)
    ]
    log = prepared(
        tmp_path, events, [item("a")], schema=minimal(REQUEST, *overrides), settings=settings
    )  # fmt: skip
    return {s: [r["request_id"] for r in requests(log, s)] for s in ("train", "validation", "test")}


def names(*numbers: int) -> list[str]:
    return [f"r{n}" for n in numbers]


def test_split_by_shares(tmp_path: Path) -> None:
    found = splits(tmp_path, {"split": {"validation_share": 0.2, "test_share": 0.3}})
    assert found == {"train": names(0, 1, 2, 3, 4), "validation": names(5, 6), "test": names(7, 8, 9)}


def test_split_by_dates(tmp_path: Path) -> None:
    found = splits(
        tmp_path,
        {"split": {"validation_from": "2024-01-03", "test_from": "2024-01-09T00:00:00"}},
    )
    assert found == {"train": names(0, 1), "validation": names(2, 3, 4, 5, 6, 7), "test": names(8, 9)}


def test_split_by_a_date_without_validation(tmp_path: Path) -> None:
    found = splits(tmp_path, {"split": {"test_from": "2024-01-09"}, "train_from": "2024-01-08"})
    assert found == {"train": names(7), "validation": [], "test": names(8, 9)}


def test_split_by_column(tmp_path: Path) -> None:
    column = ["train"] * 6 + ["VALIDATION"] * 2 + ["Test"] * 2
    found = splits(tmp_path, {"train_from": "2024-01-03"}, "events.split=split", split=column)
    # Requests before train_from serve as history only.
    assert found == {"train": names(2, 3, 4, 5), "validation": names(6, 7), "test": names(8, 9)}


@pytest.mark.parametrize(
    ("share", "since", "train", "validation"),
    [
        (0.25, "2024-01-01", names(0, 1, 2, 3, 4, 5), names(6, 7)),
        (0.01, "2024-01-01", names(0, 1, 2, 3, 4, 5, 6, 7), []),
        (0.5, "2024-01-05", names(4, 5), names(6, 7)),  # of the 4 requests that are trained on
    ],
)
def test_the_last_of_train_validates(
    tmp_path: Path, share: float, since: str, train: list[str], validation: list[str]
) -> None:
    column = ["train"] * 8 + ["test"] * 2
    settings = {"split": {"validation_of_train": share}, "train_from": since}
    found = splits(tmp_path, settings, "events.split=split", split=column)
    assert found == {"train": train, "validation": validation, "test": names(8, 9)}


def test_the_last_of_train_stays_if_the_log_names_validation_requests(tmp_path: Path) -> None:
    column = ["train"] * 8 + ["validation", "test"]
    settings = {"split": {"validation_of_train": 0.5}}
    found = splits(tmp_path, settings, "events.split=split", split=column)
    assert found == {"train": names(*range(8)), "validation": names(8), "test": names(9)}


def test_requests_of_one_moment_are_not_divided(tmp_path: Path) -> None:
    events = [event(f"r{n}", "u", "q", "a", n // 4 * 1440, split="train", click=1) for n in range(8)]
    settings = {"split": {"validation_of_train": 0.25}}
    schema = minimal(REQUEST, "events.split=split")
    log = prepared(tmp_path, events, [item("a")], schema=schema, settings=settings)
    assert [len(requests(log, s)) for s in ("train", "validation")] == [4, 4]


def test_what_is_before_train_from_is_history(tmp_path: Path) -> None:
    events = [event(f"r{n}", "u", "q", "a", n * 1440, click=1) for n in range(3)]
    log = prepared(
        tmp_path,
        events,
        [item("a")],
        schema=minimal("cross_features=[{kind: iqp, key: query, engagement: click}]"),
        settings=ALL_TRAIN | {"train_from": "2024-01-03"},
    )
    assert [r["cross.support"] for r in requests(log)] == [[2]]
    assert [r["train_frequency"] for r in requests(log)] == [3]
    assert log.items.train_count.tolist() == [1]


# Joins.


def test_a_column_of_the_same_name_in_events_and_users(tmp_path: Path) -> None:
    wanted = schema(
        "segments={age: users}",
        "cross_features=[]",
        "features.request.2={name: age_then, kind: number, column: age}",
        "features.request.4={name: query_again, kind: words, column: query, table: word}",
    )
    events = [event("r", "u", "q", "a", 0, click=1, age=17)]
    log = prepared(tmp_path, events, [item("a")], [user("u", age=40)], schema=wanted)
    row = requests(log)[0]
    assert row["dense"] == [17, 40]
    assert row["segment.age"] == "40"


def test_users_without_an_id_are_passed_over(tmp_path: Path) -> None:
    users = [user("u", "de"), {**user("x"), "user_id": None}, {**user("y"), "user_id": None}]
    log = prepared(
        tmp_path, [event("r", "u", "q", "a", 0, click=1)], [item("a")], users, schema=schema()
    )  # fmt: skip
    assert requests(log)[0]["segment.country"] == "de"


def test_a_log_in_parts(tmp_path: Path) -> None:
    rows = [event(f"r{n}", "u", "q", "a", n, click=1) for n in range(4)]
    write_log(tmp_path / "log", rows, [item("a")])
    (tmp_path / "log" / "events.parquet").unlink()
    (tmp_path / "log" / "events").mkdir()
    for part in (0, 1):
        pq.write_table(table(rows[part::2]), tmp_path / "log" / "events" / f"part-{part}.parquet")
    found = prepare_log(
        tmp_path / "log", tmp_path / "out", minimal(), parse_config(PrepareSettings, ALL_TRAIN)
    )  # fmt: skip
    assert (found["events"], found["requests"]["train"]) == (4, 4)


# Malformed rows.

GOOD = event("ok", "u", "q", "a", 0, click=1)
MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("null item_id", {"item_id": None}),
    ("null or empty query", {"query": None}),
    ("null or empty query", {"query": " \t\u3000"}),
    ("null or unparsable timestamp", {"timestamp": None}),
    ("null or unparsable timestamp", {"timestamp": 10**18}),  # nanoseconds, most likely
    ("null user_id", {"user_id": None}),
    ("null request_id", {"request_id": None}),
    ("unknown split", {"split": "holdout"}),
    ("unknown split", {"split": None}),
    ("NaN or unparsable click", {"click": float("nan")}),
    ("NaN or unparsable click", {"click": float("inf")}),
    ("negative save", {"save": -1.0}),
    ("item_id not in items", {"item_id": "zzz"}),
]


@pytest.mark.parametrize(("kind", "change"), MALFORMED)
def test_a_malformed_row_is_counted_by_kind(tmp_path: Path, kind: str, change: dict[str, Any]) -> None:
    log = prepared(tmp_path, [GOOD, {**GOOD, **change}], [item("a")], [user("u")], schema=schema())
    assert log.manifest["malformed"] == {kind: 1}
    assert log.manifest["events"] == 2
    assert [r["candidates"] for r in requests(log)] == [[0]]


def test_malformed_text_columns(tmp_path: Path) -> None:
    bad = [
        {**GOOD, "timestamp": "2024-01-01", "event_time": None, "click": "1"},
        {**GOOD, "timestamp": "yesterday", "event_time": None, "click": "1"},
        {**GOOD, "timestamp": "2024-01-01", "event_time": "later", "click": "1"},
        {**GOOD, "timestamp": "2024-01-01", "event_time": "2024-01-02", "click": "many"},
        {**GOOD, "timestamp": "2024-01-01", "event_time": "2024-01-02", "click": None},
    ]
    events = pa.Table.from_pylist(bad)
    log = prepared(tmp_path, events, [item("a")], [user("u")], schema=schema())
    assert log.manifest["malformed"] == {
        "NaN or unparsable click": 1,
        "null or unparsable timestamp": 1,
        "unparsable event_time": 1,
    }


def test_malformed_true_probability(tmp_path: Path) -> None:
    rows = [{**GOOD, "p": p} for p in (0.5, 1.0, None, float("nan"), 1.5)]
    log = prepared(
        tmp_path, rows, [item("a")], [user("u")], schema=schema("events.true_probability=p")
    )  # fmt: skip
    assert log.manifest["malformed"] == {"p not in 0..1": 3}
    assert requests(log)[0]["true_probability"] == [1.0]


# Stops.


def stop(tmp_path: Path, wanted: Any, **settings: Any) -> str:
    with pytest.raises(DatasetError) as error:
        prepare_log(
            tmp_path / "log", tmp_path / "out", wanted, parse_config(PrepareSettings, settings)
        )  # fmt: skip
    assert [p.name for p in tmp_path.iterdir() if p.name != "log"] == []  # nothing is left behind
    message = str(error.value)
    assert "\n" not in message
    return message.replace(str(tmp_path), "")


def test_strict(tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "item_id": None}, {**GOOD, "click": -1}, {**GOOD, "click": -2}]
    write_log(tmp_path / "log", rows, [item("a")])
    assert stop(tmp_path, minimal(), strict=True) == (
        "'/log/events.parquet': malformed rows: 2 x negative click, 1 x null item_id; "
        "correct them, or leave them out without --strict"
    )


def test_every_row_malformed(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [{**GOOD, "item_id": "z"}], [item("a")])
    assert (
        stop(tmp_path, minimal()) == "'/log/events.parquet': every row is malformed: 1 x item_id not in items"
    )


def test_missing_columns_are_named_with_the_nearest(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")])
    wanted = minimal("events.query=qurey", "events.item=zzzz")
    assert stop(tmp_path, wanted).startswith(
        "'/log/events.parquet': no column 'zzzz'; allowed: request_id, user_id, query, "
    )
    assert "; no column 'qurey'; did you mean 'query'? (the schema names it)" in stop(tmp_path, wanted)
    assert "no column 'titel'; did you mean 'title'?" in stop(
        tmp_path, minimal("features.item.0.column=titel")
    )


def test_a_missing_column_of_users(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")], [{"user_id": "u", "age": 1.0}])
    assert "users.parquet': no column 'country'" in stop(tmp_path, schema())


def test_an_empty_log(tmp_path: Path) -> None:
    write_log(tmp_path / "log", table([GOOD]).slice(0, 0), [item("a")])
    assert stop(tmp_path, minimal()) == "'/log/events.parquet' has no rows; there is nothing to prepare"


def test_no_items(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], table([item("a")]).slice(0, 0))
    assert stop(tmp_path, minimal()) == "'/log/items.parquet' has no items"


def test_items_without_id_and_twice(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a"), {**item("b"), "item_id": None}])
    assert stop(tmp_path, minimal()) == (
        "'/log/items.parquet': 1 items have no item_id; remove them or give them ids"
    )
    write_log(tmp_path / "log", [GOOD], [item("a"), item("b"), item("a"), item("a"), item("b")])
    assert stop(tmp_path, minimal()) == (
        "'/log/items.parquet': 3 rows repeat an item id, such as 'a', 'b'; keep one row for each item"
    )


def test_users_twice(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")], [user("u"), user("u")])
    assert stop(tmp_path, schema()) == (
        "'/log/users.parquet': user id 'u' is there more than once; keep one row for each"
    )


def test_no_engagement(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [{**GOOD, "click": 0}], [item("a")])
    for wanted in (minimal(), minimal("events.impressions=true")):
        assert stop(tmp_path, wanted) == (
            "'/log/events.parquet': no row has an engagement; check the columns 'click'"
        )


def test_nothing_to_train_on(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")])
    assert stop(tmp_path, minimal(), split={"test_from": "2000-01-01"}) == (
        "no request falls into the train split; check prepare.split, train_from and the log's times"
    )


def test_dates_beside_a_split_column(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")])
    assert stop(tmp_path, minimal("events.split=split"), split={"test_from": "2024-01-01"}) == (
        "prepare.split has no effect: the log's column 'split' splits it; "
        "set schema.events.split to null to split by dates or shares"
    )


def test_the_last_of_train_without_a_split_column(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")])
    assert stop(tmp_path, minimal(), split={"validation_of_train": 0.1}) == (
        "prepare.split.validation_of_train goes with schema.events.split, a column that splits the log; "
        "without one, set validation_share or validation_from"
    )


@pytest.mark.parametrize("name", ["events", "items"])
@pytest.mark.parametrize("content", [b"", b"PAR1 this is no Parquet file PAR1"])
def test_an_unreadable_file(tmp_path: Path, name: str, content: bytes) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")])
    (tmp_path / "log" / f"{name}.parquet").write_bytes(content)
    assert stop(tmp_path, minimal()).startswith(f"cannot read '/log/{name}.parquet': ")


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    rows = [event(f"r{n}", "u", f"query {n * 7919}", "a", n, click=1) for n in range(3000)]
    write_log(tmp_path / "log", rows, [item("a")])
    path = tmp_path / "log" / "events.parquet"
    data = bytearray(path.read_bytes())
    data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)  # the footer is whole, the pages are not
    path.write_bytes(bytes(data))
    assert stop(tmp_path, minimal()).startswith("'/log': ")


def test_a_damaged_second_part(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")])
    (tmp_path / "log" / "events").mkdir()
    (tmp_path / "log" / "events.parquet").rename(tmp_path / "log" / "events" / "0.parquet")
    (tmp_path / "log" / "events" / "1.parquet").write_bytes(b"nothing")
    assert "1.parquet" in stop(tmp_path, minimal())


def test_no_folder_and_no_files(tmp_path: Path) -> None:
    assert stop(tmp_path, minimal()) == (
        "no folder '/log'; --data names the folder with events.parquet and items.parquet"
    )
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "clicks.csv").touch()
    assert stop(tmp_path, minimal()) == (
        "'/log' has neither events.parquet (.csv, .tsv, .json, .jsonl; text also .gz, .zst) nor a folder "
        "events/ of such files; it has clicks.csv"
    )


def test_settings_of_the_engine(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")])
    assert stop(tmp_path, minimal(), memory_limit="much").startswith("prepare.memory_limit or threads: ")


def test_lists_in_a_table_of_the_user_sequence(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [GOOD], [item("a")], [user("u")])
    wanted = schema("features.item.1.table=item", "tables.category=null", without=["tables.category"])
    assert stop(tmp_path, wanted) == (
        "feature 'categories': column 'categories' holds lists, but table 'item' is the user sequence's, "
        "where a value has one row; give the feature a table of its own"
    )
