"""A user that is forgotten has left no trace; compacting changes nothing but the files of the log."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.cli import main
from interactrank.cross_features.text import hash63
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.prepare.append import append_log
from interactrank.data.prepare.forget import compact_dataset, forget_user
from interactrank.data.prepared.dataset import PreparedDataset
from tests.data import logs
from tests.data.logs import event, item, user
from tests.data.prepare.test_append import SCHEMA, assert_same, by_day, files, how

USERS = [user("ada"), user("mallory", "us"), user("bob")]
ITEMS = [item("i1", "red shoe"), item("i2", "blue hat")]
QUERY = "zzyzx road"


def rows(who: str, query: str, request: str, hours: int, clicked: str) -> list[dict[str, Any]]:
    return [event(request, who, query, i, 60 * hours, click=int(i == clicked)) for i in ("i1", "i2")]


EVENTS = [
    *rows("ada", "red", "r1", 0, "i1"),
    *rows("mallory", QUERY, "mallory-1", 5, "i2"),
    *rows("mallory", "red", "mallory-2", 6, "i2"),
    *rows("bob", "blue", "r2", 30, "i2"),
    *rows("mallory", "red", "mallory-3", 60, "i2"),
    *rows("ada", "red", "r3", 61, "i1"),
]


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A dataset of two parts, in both of which mallory has searched."""
    first, last = by_day(EVENTS, [2])
    prepare_log(logs.write_log(tmp_path / "log", first, ITEMS, USERS), tmp_path / "out", SCHEMA, how())
    append_log(logs.write_log(tmp_path / "day", last, ITEMS, USERS), tmp_path / "out", SCHEMA, how())
    return tmp_path / "out"


def traces(folder: Path, texts: list[str], numbers: list[int]) -> list[str]:
    """Files of a dataset in which one of the texts or 8-byte numbers is, compressed or not."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            content = str(table.to_pydict())
            ints = [
                c for c in table.columns if pa.types.is_list(c.type) and pa.types.is_int64(c.type.value_type)
            ]
            keys = {v for c in ints for row in c.to_pylist() for v in row}
            hit = any(t in content for t in texts) or bool(keys & set(numbers))
        else:
            hit = any(t.encode() in data for t in texts)
            hit |= any(np.int64(n).tobytes() in data for n in numbers)
        found += [str(path.relative_to(folder))] if hit else []
    return found


def test_nothing_of_a_user_is_left(grown: Path, tmp_path: Path) -> None:
    texts = ["mallory", QUERY, "zzyzx", "mallory-1", "mallory-2", "mallory-3"]
    keys = [hash63("mallory"), hash63(QUERY), hash63(f"mallory\x1f{QUERY}"), hash63("mallory\x1fred")]
    before = PreparedDataset(grown)
    assert len(traces(grown, texts, keys)) > 8  # the test finds what is there
    forget_user(grown, "mallory")
    assert traces(grown, texts, keys) == []
    after = PreparedDataset(grown)
    old, new = before.vocabulary("query").values, after.vocabulary("query").values
    assert new[: len(old)] == [None if v == QUERY else v for v in old]  # no row has moved
    assert after.lineage[:-1] == before.lineage
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")] == []


def test_the_rest_is_that_of_a_log_without_the_user(grown: Path, tmp_path: Path) -> None:
    forget_user(grown, "mallory")
    others = [e for e in EVENTS if e["user_id"] != "mallory"]
    log = logs.write_log(tmp_path / "without", others, ITEMS, [u for u in USERS if u["user_id"] != "mallory"])
    prepare_log(log, tmp_path / "once", SCHEMA, how())
    assert_same(PreparedDataset(grown), PreparedDataset(tmp_path / "once"))
    append_log(tmp_path / "day", grown, SCHEMA, how())  # its day again does not bring the user back
    assert_same(PreparedDataset(grown), PreparedDataset(tmp_path / "once"))


def test_who_is_not_there_is_not_forgotten(grown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(grown)
    assert main(["forget", str(grown), "--user", "Mallory"]) == 1
    assert "has no user 'Mallory'" in capsys.readouterr().err
    assert files(grown) == before


def test_a_dataset_is_never_empty(tmp_path: Path) -> None:
    log = logs.write_log(tmp_path / "log", rows("mallory", "red", "m1", 0, "i1"), ITEMS, USERS)
    prepare_log(log, tmp_path / "out", SCHEMA, how())
    before = files(tmp_path / "out")
    with pytest.raises(DatasetError, match="has no rows; there is nothing to prepare"):
        forget_user(tmp_path / "out", "mallory")
    assert files(tmp_path / "out") == before


def test_compact(grown: Path) -> None:
    before = files(grown)
    manifest = PreparedDataset(grown).manifest
    compact_dataset(grown)
    after = files(grown)
    changed = {n for n in {*before, *after} if before.get(n) != after.get(n)}
    assert changed == {"manifest.json", "log/events/00000.parquet", "log/events/00001.parquet"}
    assert "log/events/00001.parquet" not in after
    now = PreparedDataset(grown).manifest
    assert {k: v for k, v in now.items() if k != "files"} == {
        k: v for k, v in manifest.items() if k != "files"
    }
    assert main(["compact", str(grown)]) == 0  # again: nothing to do
    assert files(grown) == after
    ids = pq.read_table(grown / "log/events/00000.parquet")["request_id"].to_pylist()
    assert ids == [e["request_id"] for part in by_day(EVENTS, [2]) for e in part]


def test_a_day_after_compacting(grown: Path, tmp_path: Path) -> None:
    compact_dataset(grown)
    day = tmp_path / "more"
    day.mkdir()
    pq.write_table(logs.table(rows("bob", "green", "r9", 90, "i1")), day / "events.parquet")
    manifest = append_log(day, grown, SCHEMA, how())
    assert [s["events"] for s in manifest["segments"]] == [8, 4, 2]
    assert (grown / "log/events/00001.parquet").exists()
