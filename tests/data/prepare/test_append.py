"""append: a dataset that grew day by day is the one that is prepared from the whole log."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactrank.core.settings import parse_config
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.prepare.append import append_log
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import PrepareSettings
from tests.data import logs
from tests.data.logs import event, item, user

SCHEMA = logs.schema(without=("events.split",))


def how(**changes: Any) -> PrepareSettings:
    """Settings that split by time."""
    split = {"test_from": "2024-02-10", "validation_from": "2024-02-05"}
    return parse_config(PrepareSettings, {"threads": 1, "split": split, "keep_log": True, **changes})


def by_day(events: list[dict[str, Any]], cuts: list[int]) -> list[list[dict[str, Any]]]:
    """Events by the day of their request: before the first cut, from it on, ..."""
    day = [(e["timestamp"] - logs.START) // logs.DAY for e in events]
    part = np.searchsorted(cuts, day, "right")
    return [[e for e, p in zip(events, part, strict=True) if p == n] for n in range(len(cuts) + 1)]


def grown(folder: Path, parts: list[list[dict[str, Any]]], items: Any, users: Any) -> PreparedDataset:
    """Prepare the first part and append the others."""
    log = logs.write_log(folder / "day0", parts[0], items, users)
    prepare_log(log, folder / "grown", SCHEMA, how())
    for n, part in enumerate(parts[1:], 1):
        day = logs.write_log(folder / f"day{n}", part, items, users)
        append_log(day, folder / "grown", SCHEMA, how())
    return PreparedDataset(folder / "grown")


def readable(log: PreparedDataset) -> dict[str, dict[str, Any]]:
    """All requests, with the values that rows of ID tables stand for; the order of words does not matter."""
    values = {t: [None, *log.vocabulary(t).values] for t in log.schema.tables}
    found = {}
    for split in ("train", "validation", "test"):
        for row in logs.requests(log, split):
            row["split"] = split
            row["feature.query_id"] = [values["query"][i] for i in row["feature.query_id"]]
            row["events.query"] = [values["query"][i] for i in row["events.query"]]
            found[row["request_id"]] = row
    return found


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-7, nan_ok=True)
    return bool(one == other)


def assert_same(one: PreparedDataset, other: PreparedDataset) -> None:
    """The same requests, with the same values in every column, and the same catalogue."""
    mine, theirs = readable(one), readable(other)
    assert mine.keys() == theirs.keys()
    for request, row in mine.items():
        for column, value in row.items():
            assert equal(value, theirs[request][column]), (request, column)
    tables = [pq.read_table(d.folder / "items.parquet") for d in (one, other)]
    assert tables[0]["id"].equals(tables[1]["id"])
    assert tables[0]["dense"].equals(tables[1]["dense"])
    assert tables[0]["train_count"].equals(tables[1]["train_count"])
    for name, table in {"item_id": "item", "categories": "category"}.items():
        mine, theirs = (
            [
                [([None, *d.vocabulary(table).values])[i] for i in row]
                for row in t[f"feature.{name}"].to_pylist()
            ]
            for d, t in zip((one, other), tables, strict=True)
        )
        assert mine == theirs


ITEMS = [item("i1", "red shoe"), item("i2", "blue hat")]
USERS = [user("ada"), user("bob")]
FIRST = [
    event("r1", "ada", "red", "i1", 0, click=1),
    event("r1", "ada", "red", "i2", 0),
    event("r2", "bob", "blue", "i2", 60 * 24, click=1),
    event("r2", "bob", "blue", "i1", 60 * 24),
]
DAY = [
    event("r3", "ada", "green", "i2", 60 * 48, click=1),
    event("r3", "ada", "green", "i1", 60 * 48),
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A dataset of two days."""
    prepare_log(logs.write_log(tmp_path / "log", FIRST, ITEMS, USERS), tmp_path / "out", SCHEMA, how())
    return tmp_path / "out"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def only_events(folder: Path, events: list[dict[str, Any]] | pa.Table) -> Path:
    folder.mkdir(exist_ok=True)
    rows = events if isinstance(events, pa.Table) else logs.table(events)
    pq.write_table(rows, folder / "events.parquet")
    return folder


def test_values_keep_their_rows_and_new_ones_come_last(base: Path, tmp_path: Path) -> None:
    before = PreparedDataset(base)
    old = before.vocabulary("query").values
    manifest = append_log(only_events(tmp_path / "day", DAY * 1), base, SCHEMA, how())
    after = PreparedDataset(base)
    assert after.vocabulary("query").values == [*old, "green"]
    assert manifest["lineage"][:-1] == before.manifest["lineage"] == [before.manifest["fingerprint"]]
    assert manifest["lineage"][-1] == manifest["fingerprint"] != before.manifest["fingerprint"]
    assert manifest["numbers"] == before.manifest["numbers"]
    assert [s["events"] for s in manifest["segments"]] == [4, 2]
    assert after.num_requests("train") == 3


def test_a_table_that_is_full_takes_no_more(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schema = logs.schema("tables.query.max_rows=3", without=("events.split",))
    prepare_log(tmp_path / "log", tmp_path / "full", schema, how())
    append_log(only_events(tmp_path / "day", DAY), tmp_path / "full", schema, how())
    assert PreparedDataset(tmp_path / "full").vocabulary("query").values == ["blue", "red"]
    assert "table 'query' is full (max_rows 3; 3 rows before)" in caplog.text


def test_a_day_twice_changes_nothing(base: Path, tmp_path: Path) -> None:
    day = only_events(tmp_path / "day", DAY)
    append_log(day, base, SCHEMA, how())
    before = files(base)
    manifest = append_log(day, base, SCHEMA, how())
    assert files(base) == before
    assert manifest["lineage"] == PreparedDataset(base).manifest["lineage"]
    assert (
        append_log(tmp_path / "log", base, SCHEMA, how())["lineage"] == manifest["lineage"]
    )  # the first one


def test_splits_are_cut_anew(base: Path, tmp_path: Path) -> None:
    day, later = only_events(tmp_path / "day", DAY), how(split={"test_from": "2024-01-03"})
    append_log(day, base, SCHEMA, how())
    manifest = append_log(day, base, SCHEMA, later)  # the same day with other settings
    assert manifest["requests"] == {"train": 2, "validation": 0, "test": 1}
    assert len(manifest["segments"]) == 2


def test_new_items_join_and_changed_ones_are_replaced(base: Path, tmp_path: Path) -> None:
    day = only_events(tmp_path / "day", [event("r3", "ada", "red", "i3", 60 * 48, click=1)])
    pq.write_table(
        logs.table([item("i3", "red sock"), item("i2", "green hat", price=9.0)]), day / "items.parquet"
    )
    pq.write_table(logs.table([user("eve", "us")]), day / "users.parquet")
    append_log(day, base, SCHEMA, how())
    after = PreparedDataset(base)
    assert after.items.ids == ["i1", "i2", "i3"]
    assert after.items.dense[:, 0].tolist() == [1.0, 9.0, 1.0]
    assert after.users.table(["eve", "ada"])["u_country"].to_pylist() == ["us", "de"]


def test_items_alone(base: Path, tmp_path: Path) -> None:
    day = tmp_path / "day"
    day.mkdir()

    def append(price: float) -> PreparedDataset:
        pq.write_table(logs.table([item("i3", "red sock", price=price)]), day / "items.parquet")
        append_log(day, base, SCHEMA, how())
        return PreparedDataset(base)

    assert append(2.0).items.ids == ["i1", "i2", "i3"]
    assert append(3.0).items.dense[2, 0] == 3
    assert append(2.0).items.dense[2, 0] == 2  # back to what it was
    lineage = PreparedDataset(base).lineage
    assert append(2.0).lineage == lineage
    assert [s["events"] for s in PreparedDataset(base).manifest["segments"]] == [4, 0, 0, 0]
    assert len(list((base / "log" / "events").iterdir())) == 1
    (day / "items.parquet").unlink()
    with pytest.raises(DatasetError, match="neither events"):
        append_log(day, base, SCHEMA, how())


def test_a_late_event_counts_from_its_own_time(base: Path, tmp_path: Path) -> None:
    # A click on r1's second item, an hour after r2, which then must not know of it; r3 must.
    click = event("r1", "ada", "red", "i2", 0, click=1, event_time=logs.START + 25 * logs.HOUR)
    again = [event("r3", "bob", "red", name, 60 * 48) for name in ("i1", "i2")]
    append_log(only_events(tmp_path / "day", [click, *again]), base, SCHEMA, how())
    rows = {r["request_id"]: r for r in logs.requests(PreparedDataset(base))}
    assert rows["r1"]["labels"] == [1, 1, 1, 1]  # both items are liked now
    assert rows["r3"]["cross.support"][0] == 2  # clicks after "red"
    assert rows["r2"]["cross.support"][0] == 0
    assert rows["r3"]["cross.rate"][:: len(rows["r3"]["cross.support"])] == [0.5, 0.5]


def test_what_cannot_be_appended_leaves_the_dataset(base: Path, tmp_path: Path) -> None:
    before, day = files(base), tmp_path / "day"
    later = logs.table(DAY)

    def refused(match: str, events: Any, schema: Any = SCHEMA) -> None:
        with pytest.raises(DatasetError, match=match):
            append_log(only_events(day, events), base, schema, how())
        assert files(base) == before

    refused("no column 'session_id'", later.drop_columns(["session_id"]))
    numbers = later.set_column(later.column_names.index("item_id"), "item_id", pa.array([1, 2]))
    refused("column 'item_id' holds numbers; in the dataset it holds text", numbers)
    refused(
        r"1 of its events are in the dataset already, such as query 'red', item 'i1' at", [*DAY, FIRST[0]]
    )
    refused("2 rows have a timestamp in the future", [e | {"timestamp": 4_000_000_000_000} for e in DAY])
    seconds = [e | {"timestamp": e["timestamp"] // 1000} for e in DAY]
    refused("column 'timestamp' holds seconds; in the dataset it holds milliseconds", seconds)
    refused("has no rows; there is nothing to append", later.slice(0, 0))
    refused("another schema", DAY, logs.schema("sequence.length=9", without=("events.split",)))
    pq.write_table(logs.table([item("i3"), item("i3")]), day / "items.parquet")
    refused("1 rows repeat an item id, such as 'i3'", DAY)
    (day / "items.parquet").write_bytes(b"PAR1 no")
    refused("cannot read", DAY)


def test_a_dataset_without_its_log_cannot_grow(tmp_path: Path) -> None:
    log = logs.write_log(tmp_path / "log", FIRST, ITEMS, USERS)
    prepare_log(log, tmp_path / "out", SCHEMA, how(keep_log=False))
    assert not (tmp_path / "out" / "log").exists()
    with pytest.raises(DatasetError, match="keeps no log"):
        append_log(only_events(tmp_path / "day", DAY), tmp_path / "out", SCHEMA, how())


def test_a_log_does_not_replace_what_has_grown(base: Path, tmp_path: Path) -> None:
    append_log(only_events(tmp_path / "day", DAY), base, SCHEMA, how())
    before = files(base)
    with pytest.raises(DatasetError, match="has grown since it was prepared"):
        prepare_log(tmp_path / "log", base, SCHEMA, how())
    assert files(base) == before


@pytest.mark.slow
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(5, 55), min_size=1, max_size=3, unique=True))
def test_the_grown_dataset_is_that_of_the_whole_log(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    events, items, users = logs.random_log(seed, requests=50)
    parts = [part for part in by_day(events, sorted(cuts)) if part]
    one = grown(folder, parts, items, users)
    log = logs.write_log(folder / "whole", [e for part in parts for e in part], items, users)
    prepare_log(log, folder / "once", SCHEMA, how())
    other = PreparedDataset(folder / "once")
    assert_same(one, other)
    for name, table in SCHEMA.tables.items():
        if table.ids == "vocabulary":
            mine, theirs = one.vocabulary(name).values, other.vocabulary(name).values
            assert sorted(map(str, mine)) == sorted(map(str, theirs))
