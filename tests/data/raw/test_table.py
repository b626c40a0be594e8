"""A table of several files: each keeps its types, and values keep their meaning."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import identity
from interactrank.data.raw.table import RawTable


def write(folder: Path, *parts: dict[str, Any]) -> Path:
    (folder / "events").mkdir(parents=True)
    for n, part in enumerate(parts):
        pq.write_table(pa.table(part), folder / "events" / f"part-{n}.parquet")
    return folder


def read(log: Path, *columns: str) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
    with duckdb.connect() as db:
        table = RawTable.open(db, Place.of(log), "events", columns)
        rows = db.execute(table.select(lambda types: [table.value(c, types) for c in columns])).fetchall()
    return rows, table.types


def ids(log: Path, column: str) -> list[str | None]:
    with duckdb.connect() as db:
        table = RawTable.open(db, Place.of(log), "events", [column])
        return [r[0] for r in db.execute(table.select(lambda t: [identity(column, t[column])])).fetchall()]


def test_order_and_further_columns(tmp_path: Path) -> None:
    log = write(tmp_path, {"a": [1], "b": ["x"]}, {"b": ["y"], "more": [0], "a": [2]})
    assert read(log, "a", "b") == ([(1, "x"), (2, "y")], {"a": "BIGINT", "b": "VARCHAR"})


def test_integers_then_fractions_then_text_then_nulls(tmp_path: Path) -> None:
    parts = [
        pa.nulls(1),
        [7],
        [7.0, 0.5, float("nan")],
        ["7", "007"],
        pa.array([b"7"]),
        pa.array([7], pa.int8()),
    ]
    log = write(tmp_path, *({"a": p} for p in parts))
    assert ids(log, "a") == [None, "7", "7", "0.5", None, "7", "007", "7", "7"]
    assert [v for (v,) in read(log, "a")[0]] == [None, "7", "7", "0.5", None, "7", "007", "7", "7"]


def test_nan_in_a_file_whose_statistics_leave_it_out(tmp_path: Path) -> None:
    """DuckDB 2.0 says isnan() is false where a Parquet file's minimum and maximum are numbers."""
    log = write(tmp_path, {"a": pa.array([7.0, float("nan")], from_pandas=False)})
    assert ids(log, "a") == ["7", None]


def test_large_ids_next_to_fractions(tmp_path: Path) -> None:
    """A common type of both would be DOUBLE, which does not hold 2^53 + 1."""
    log = write(tmp_path, {"a": [2**53 + 1]}, {"a": [0.5]})
    assert ids(log, "a") == ["9007199254740993", "0.5"]


def test_dates_then_timestamps(tmp_path: Path) -> None:
    day, moment = datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 5, 30)
    rows, types = read(write(tmp_path, {"t": [day]}, {"t": [moment]}), "t")
    assert rows == [(datetime.datetime(2024, 1, 1),), (moment,)]
    assert types["t"].startswith("TIMESTAMP")


def test_binary_text(tmp_path: Path) -> None:
    log = write(tmp_path, {"q": pa.array(["café".encode()]), "l": pa.array([["ü".encode()]])})
    assert read(log, "q", "l")[0] == [("café", ["ü"])]


def test_a_file_without_a_column_is_named(tmp_path: Path) -> None:
    log = write(tmp_path, {"a": [1]}, {"A": [1]})
    with pytest.raises(DatasetError, match=r"part-1\.parquet': no column 'a'; did you mean 'A'"):
        read(log, "a")


@pytest.mark.parametrize("names", [["a", "A"], ["a", "a"]])
def test_columns_that_are_not_one(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "events").mkdir()
    both = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=[*names, "b"])
    pq.write_table(both, tmp_path / "events" / "part-0.parquet")
    assert read(tmp_path, "b")[0] == [(3,)]
    with pytest.raises(DatasetError, match=f"the columns '{names[0]}', '{names[1]}' differ only in case"):
        read(tmp_path, "a")


def test_lists_in_one_file_alone(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"column 'a' holds VARCHAR\[\] in '.*part-1.* and VARCHAR in '.*part-0"
    ):
        read(write(tmp_path, {"a": ["x"]}, {"a": [["x"]]}), "a")


def test_a_partition_lends_what_the_files_do_not_have(tmp_path: Path) -> None:
    for day in ("2024-01-01", "2024-01-02"):
        folder = tmp_path / "events" / f"day={day}" / "q=wrong"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"q": [f"of {day}"]}), folder / "part.parquet")
    assert read(tmp_path, "q", "day")[0] == [("of 2024-01-01", "2024-01-01"), ("of 2024-01-02", "2024-01-02")]
    assert read(tmp_path, "q")[0] == [("of 2024-01-01",), ("of 2024-01-02",)]


# Text formats.

CSV = 'id,name,tags,vector,n\n007,"a, b","[""x"", ""y""]","[0.5, 1]",1\n7,,,,2.5\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("events.csv", CSV.encode()),
        ("events.csv", b"\xef\xbb\xbf" + CSV.encode()),  # with the mark of Excel
        ("events.csv.gz", gzip.compress(CSV.encode())),
        ("events.csv.zst", pa.compress(CSV.encode(), "zstd", asbytes=True)),
        ("events.csv", CSV.replace("\n", "\r\n").encode()),
        ("events.tsv", b"id\tname\ttags\tvector\tn\n007\ta, b\t['x', 'y']\t[0.5, 1]\t1\n7\t\t\t\t2.5\n"),
        ("events.csv", b"id;name;tags;vector;n\n007;a, b;[x, y];[0.5, 1];1\n7;;;;2.5\n"),
    ],
    ids=[
        "comma",
        "mark",
        "gzip",
        "zstd",
        "windows",
        "tab",
        "semicolon",
    ],  # gzip's bytes have the time in them
)
def test_delimited_text(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    rows, types = read(tmp_path, "id", "name", "tags", "vector", "n")
    assert rows == [("007", "a, b", ["x", "y"], [0.5, 1.0], "1"), ("7", None, None, None, "2.5")]
    assert types == {
        "id": "VARCHAR",
        "name": "VARCHAR",
        "tags": "VARCHAR[]",
        "vector": "DOUBLE[]",
        "n": "VARCHAR",
    }


def test_csv_files_with_other_headers(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "0.csv").write_text("a,b\n1,x\n")
    (tmp_path / "events" / "1.csv").write_text("b,a,c\ny,2,0\n")
    assert read(tmp_path, "a", "b")[0] == [("1", "x"), ("2", "y")]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    lines: list[dict[str, Any]] = [
        {"id": "007", "n": 1, "tags": ["x"], "any": 7},
        {"id": "7", "n": 0.5, "any": "seven", "late": "x"},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    rows, types = read(tmp_path, "id", "n", "tags", "any", "late")
    assert rows == [("007", 1.0, ["x"], "7", None), ("7", 0.5, None, "seven", "x")]
    assert types["tags"] == "VARCHAR[]"


def test_an_empty_text_file(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"cannot read '.*events\.csv'"):
        read(tmp_path, "a")


def test_numbered__ascends_in_the_order_of_groups_files_and_rows(tmp_path: Path) -> None:
    """Five files of two groups; the third has other types, so that the fourth and fifth come before it."""
    parts = [{"a": [n * 10, n * 10 + 1]} for n in range(5)]
    parts[2] = {"a": pa.array([20, 21], pa.int8())}
    log = write(tmp_path, *parts)
    with duckdb.connect() as db:
        table = RawTable.open(db, Place.of(log), "events", ["a"])
        for query in (table.numbered, table.counted):
            rows = db.execute(query(lambda types: [table.value("a", types)])).fetchall()
            assert [a for _, a in sorted(rows)] == [0, 1, 10, 11, 30, 31, 40, 41, 20, 21]
            assert len({row for row, _ in rows}) == 10
    assert sorted(row for row, _ in rows) == list(range(1, 11))


def test_numbered__counts_rows_of_other_formats(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("a\n5\n4\n3\n")
    with duckdb.connect() as db:
        table = RawTable.open(db, Place.of(tmp_path), "events", ["a"])
        rows = db.execute(table.numbered(lambda types: [table.value("a", types)])).fetchall()
    assert sorted(rows) == [(1, "5"), (2, "4"), (3, "3")]
