"""The output of prepare: kept if it would be the same, whole or not there at all, never somebody else's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from interactrank.core import atomic_directory
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.prepare import prepare as prepare_module
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import PrepareSettings
from tests.data.logs import (
    event,
    item,
    minimal,
    random_log,
    schema,
    write_log,
)


def test_the_same_inputs_keep_the_output(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    first = prepare_log(log, tmp_path / "out", minimal(), PrepareSettings())
    inode = (tmp_path / "out").stat().st_ino
    assert prepare_log(log, tmp_path / "out", minimal(), PrepareSettings(threads=1)) == first
    assert (tmp_path / "out").stat().st_ino == inode
    prepare_log(log, tmp_path / "out", minimal("tables.word.rows=60"), PrepareSettings())
    assert PreparedDataset(tmp_path / "out").layout.table_rows == {"word": 60}
    assert [p.name for p in tmp_path.iterdir() if p.name != "log"] == ["out"]


def test_any_number_of_threads_writes_the_same_bytes(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", *random_log(0))

    def files(threads: int) -> dict[str, bytes]:
        out = tmp_path / str(threads)
        prepare_log(log, out, schema(), PrepareSettings(threads=threads, block_requests=7))
        found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
        del found["manifest.json"]  # says how many threads
        return found

    assert files(3) == files(1)


def test_lists_of_fractions_have_no_dictionary_all_else_has(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", *random_log(0, requests=20))
    prepare_log(log, tmp_path / "out", schema(), PrepareSettings(threads=1))
    file = pq.ParquetFile(tmp_path / "out" / "train" / "requests-00000.parquet")
    group = file.metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    plain = {path for path, column in columns.items() if not column.has_dictionary_page}
    assert {"cross.rate.list.element", "labels.list.element"} <= plain
    assert {columns[path].physical_type for path in plain} == {"FLOAT"}


def test_a_damaged_log_is_prepared_again(tmp_path: Path) -> None:
    """Also where sizes are as they were."""
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    prepare_log(log, tmp_path / "out", minimal(), PrepareSettings(threads=1))
    path = tmp_path / "out" / "items.parquet"
    whole = path.read_bytes()
    for damaged in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
        path.write_bytes(damaged)
        prepare_log(log, tmp_path / "out", minimal(), PrepareSettings(threads=1))
        assert path.read_bytes() == whole


def test_a_changed_file_is_prepared_again(tmp_path: Path) -> None:
    rows = [event("r", "u", "q", "a", 0, click=1)]
    log = write_log(tmp_path / "log", rows, [item("a")])
    prepare_log(log, tmp_path / "out", minimal(), PrepareSettings())
    write_log(log, [*rows, event("s", "u", "q2", "a", 1, click=1)], [item("a")])
    settings = PrepareSettings.model_validate({"split": {"test_share": 0.4, "validation_share": 0}})
    assert prepare_log(log, tmp_path / "out", minimal(), settings)["events"] == 2


def test_prepare_log__a_touched_moved_or_renamed_log_is_the_same(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    first = prepare_log(log, tmp_path / "out", minimal(), PrepareSettings())
    inode = (tmp_path / "out").stat().st_ino
    os.utime(log / "events.parquet", (0, 0))
    (log / "items").mkdir()
    (log / "items.parquet").rename(log / "items" / "part-0.parquet")
    log = log.rename(tmp_path / "moved")
    assert prepare_log(log, tmp_path / "out", minimal(), PrepareSettings()) == first
    assert (tmp_path / "out").stat().st_ino == inode


def test_prepare_log__another_value_of_equal_size_and_time_is_another_log(tmp_path: Path) -> None:
    def write(brand: str) -> Path:
        log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a", brand=brand)])
        os.utime(log / "items.parquet", (0, 0))
        return log / "items.parquet"

    size = write("acme").stat().st_size
    first = prepare_log(tmp_path / "log", tmp_path / "out", minimal(), PrepareSettings())
    assert write("nova").stat().st_size == size
    second = prepare_log(tmp_path / "log", tmp_path / "out", minimal(), PrepareSettings())
    assert second["fingerprint"] != first["fingerprint"]


def test_prepare_log__what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    left = tmp_path / ".out.0123456789ab.tmp" / "work"
    left.mkdir(parents=True)
    (left / "spill").write_bytes(b"half a database")
    prepare_log(log, tmp_path / "out", minimal(), PrepareSettings())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "out"]


def test_prepare_log__an_output_that_is_a_link_stays_one(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for rows in (50, 60):
        prepare_log(log, tmp_path / "out", minimal(f"tables.word.rows={rows}"), PrepareSettings())
        assert (tmp_path / "out").is_symlink()
        assert PreparedDataset(tmp_path / "disk").layout.table_rows == {"word": rows}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "log", "out"]


@pytest.mark.parametrize("place", ["write_items", "build_stores", "write_splits"])
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_and_keeps_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    events, items, users = random_log(0, requests=20)
    log = write_log(tmp_path / "log", events, items, users)
    prepare_log(log, tmp_path / "out", schema(), PrepareSettings(threads=1))
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(prepare_module, place, fail)
    with pytest.raises(type(error)):
        prepare_log(log, tmp_path / "out", schema("tables.word.rows=60"), PrepareSettings(threads=1))
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
    with pytest.raises(type(error)):
        prepare_log(log, tmp_path / "deep" / "new", schema(), PrepareSettings(threads=1))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "out"]


def test_the_old_log_comes_back_if_the_new_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    prepare_log(log, tmp_path / "out", minimal(), PrepareSettings())
    replace = os.replace

    def once(old: Path, new: Path) -> None:
        if str(old).endswith(".tmp"):
            raise OSError("disk")
        replace(old, new)

    monkeypatch.setattr(os, "replace", once)
    monkeypatch.setattr(atomic_directory, "exchange", lambda one, other: False)  # as on NFS
    with pytest.raises(OSError, match="disk"):
        prepare_log(log, tmp_path / "out", minimal("tables.word.rows=60"), PrepareSettings())
    assert PreparedDataset(tmp_path / "out").layout.table_rows == {"word": 50}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "out"]


@pytest.mark.parametrize("manifest", [None, "[]", '{"name": "a web app"}', "no JSON"])
def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path, manifest: str | None) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (other / "manifest.json").write_text(manifest)
    with pytest.raises(
        DatasetError, match=r"/other' exists and is not a prepared dataset; name a new folder$"
    ):
        prepare_log(log, other, minimal(), PrepareSettings())
    assert (other / "thesis.txt").read_text() == "years of work"


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    with pytest.raises(DatasetError, match=r"events.parquet' exists and is not a prepared dataset"):
        prepare_log(log, log / "events.parquet", minimal(), PrepareSettings())


def test_an_empty_output_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    prepare_log(log, Path(), minimal(), PrepareSettings())
    assert json.loads((tmp_path / "here" / "manifest.json").read_text())["items"] == 1
