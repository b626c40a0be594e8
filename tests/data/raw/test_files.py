"""Which files a log has: layouts, formats, names that look like patterns, and what is not data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.raw.files import find_files
from interactrank.data.raw.place import Place


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PAR1")
    return folder


def found(folder: Path) -> list[str]:
    files = find_files(Place.of(folder), "events")
    return [f"{Path(f.path).relative_to(folder)} {f.format}" for f in files]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("events.parquet", "parquet"),
        ("events.csv", "csv"),
        ("events.csv.gz", "csv"),
        ("events.tsv.zst", "tsv"),
        ("events.JSONL", "json"),
        ("events.json.gz", "json"),
    ],
)
def test_one_file(tmp_path: Path, name: str, kind: str) -> None:
    touch(tmp_path, name, "items.parquet", "events_old.csv", "README.md")
    assert found(tmp_path) == [f"{name} {kind}"]


@pytest.mark.parametrize("folder", ["events", "events.parquet"])
def test_a_folder_as_spark_writes_it(tmp_path: Path, folder: str) -> None:
    names = ["part-1.snappy.parquet", "part-0.snappy.parquet", "_SUCCESS", "._SUCCESS.crc"]
    names += [".part-0.snappy.parquet.crc", "_temporary/0/part-9.parquet", "_metadata", "notes.txt"]
    touch(tmp_path / folder, *names)
    assert found(tmp_path) == [f"{folder}/part-{n}.snappy.parquet parquet" for n in (0, 1)]


def test_a_folder_as_hive_writes_it(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "events/day=2024-01-01/000000_0",
        "events/day=a%3Db/kind=__HIVE_DEFAULT_PARTITION__/000000_0",
    )
    files = find_files(Place.of(tmp_path), "events")
    assert [f.partitions for f in files] == [{"day": "2024-01-01"}, {"day": "a=b", "kind": None}]


def test_the_path_to_the_log_lends_nothing(tmp_path: Path) -> None:
    log = touch(tmp_path / "query=foo" / "[a]*", "events.parquet")
    (file,) = find_files(Place.of(log), "events")
    assert (file.partitions, file.format) == ({}, "parquet")
    assert file.for_duckdb == f"{tmp_path}/query=foo/[[]a][*]/events.parquet"
    assert file.name == str(log / "events.parquet")


def test_both_a_file_and_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "events.parquet", "events/part-0.parquet")
    with pytest.raises(DatasetError, match=r"has 'events' and 'events\.parquet': a table is one of them"):
        found(tmp_path)


def test_two_formats_in_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "events/a.parquet", "events/b.csv")
    with pytest.raises(DatasetError, match=r"a\.parquet' and '.*b\.csv' are of two formats"):
        found(tmp_path)


def test_a_folder_without_data(tmp_path: Path) -> None:
    touch(tmp_path, "events/_SUCCESS")
    with pytest.raises(DatasetError, match="the folder events/ has no data file"):
        found(tmp_path)


def test_an_unknown_store() -> None:
    with pytest.raises(DatasetError, match=r"'nowhere://host/log': .*Arrow reads file, s3, gs and hdfs"):
        Place.of("nowhere://host/log")


def test_a_file_uri(tmp_path: Path) -> None:
    touch(tmp_path, "events.parquet")
    (file,) = find_files(Place.of(tmp_path.as_uri()), "events")
    assert (file.path, file.name) == (f"{tmp_path}/events.parquet", f"{tmp_path.as_uri()}/events.parquet")


# Delta tables.


def delta(folder: Path, *commits: list[dict[str, Any]], first: int = 0) -> Path:
    """A table of three files, and the log of its commits."""
    touch(folder / "events", "a.parquet", "day=a%3Ab/b.parquet", "c.parquet")
    for n, actions in enumerate(commits, first):
        text = "\n".join(map(json.dumps, actions))
        path = touch(folder / "events/_delta_log", f"{n:020d}.json") / f"{n:020d}.json"
        path.write_text(text)
    return folder


def test_a_delta_table_is_its_newest_version(tmp_path: Path) -> None:
    written = [{"add": {"path": "a.parquet"}}, {"add": {"path": "day=a%253Ab/b.parquet"}}, {"metaData": {}}]
    rewritten = [{"remove": {"path": "a.parquet"}}, {"add": {"path": "c.parquet"}}]
    assert found(delta(tmp_path / "x", written)) == [
        "events/a.parquet parquet",
        "events/day=a%3Ab/b.parquet parquet",
    ]
    log = delta(tmp_path / "y", written, rewritten)
    assert found(log) == ["events/c.parquet parquet", "events/day=a%3Ab/b.parquet parquet"]


@pytest.mark.parametrize(
    ("action", "first", "told"),
    [
        ({"add": {"path": "a.parquet"}}, 3, "its first commits are in a checkpoint"),
        (
            {"add": {"path": "a.parquet", "deletionVector": {"storageType": "u"}}},
            0,
            "rows are deleted within",
        ),
    ],
)
def test_a_delta_table_that_must_be_exported(
    tmp_path: Path, action: dict[str, Any], first: int, told: str
) -> None:
    with pytest.raises(DatasetError, match=f"is a Delta table, and {told}.*write its rows as plain Parquet"):
        found(delta(tmp_path, [action], first=first))
