"""What was served is a raw log: appended to the dataset, it gives the features that were used."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from interactrank.cli import main
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.runs.datasets import append_to_dataset
from interactrank.server.app import make_app
from interactrank.server.request_log import RequestLog
from interactrank.server.settings import LogSettings
from interactrank.server.verify_log import LogError, verify_log
from tests.server.conftest import HERE, settings_of
from tests.serving.exported import Exported, export

NOW = 1_735_689_600_000  # 2025-01-01, after the log
REQUEST = {"query": "red", "user_id": "u1", "hour": 3, "query_vector": [0.5, 1.0]}
CLICK = {"query": "red", "user_id": "u1", "hour": 3, "query_vector": [0.5, 1.0], "click": 1}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("kept"), "prepare.keep_log=true")


@pytest.fixture
def client(kept: Exported, tmp_path: Path) -> Iterator[TestClient]:
    log = LogSettings(folder=tmp_path / "log", shown=4)
    settings = settings_of(kept.artifact, events=str(tmp_path / "events"), log=log)
    with TestClient(make_app(settings), base_url=HERE) as client:
        yield client


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "events").iterdir())
    return pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()


def settled(client: TestClient) -> None:
    """Wait until what was served counts as impressions."""
    client.app.state.service.log.flush()  # type: ignore[attr-defined]


def search(client: TestClient, n: int, **more: Any) -> dict[str, Any]:
    request = REQUEST | {"user_id": f"u{n % 5}", "query": ["red", "blue", "shoes"][n % 3]} | more
    answer = client.post("/rank", json={"request": request | {"timestamp": NOW + 60_000 * n}, "k": 10}).json()
    settled(client)
    return answer | {"request": request}


def test_the_log_appended_gives_the_features_that_were_used(
    kept: Exported, client: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(12):
        answer = search(client, n)
        if n % 2:
            event = CLICK | {name: answer["request"][name] for name in ("query", "user_id")}
            event |= {
                "request_id": answer["request_id"],
                "timestamp": answer["time"],
                "item_id": answer["ids"][n % 4],
            }
            found = client.post("/events", json={"events": [event]})
            assert found.json()["events"] == 1, found.text
    client.__exit__(None, None, None)
    log = rows(tmp_path / "log")
    assert len(log) == 12 * 4 + 6
    assert len([row for row in log if row["served_features"]]) == 12 * 4
    assert sum(row["click"] for row in log) == 6
    append_to_dataset(kept.config, tmp_path / "log", kept.folder / "prepared", strict=True)
    dataset = PreparedDataset(kept.folder / "prepared")
    found = verify_log(tmp_path / "log", dataset)
    assert found.examples == []
    assert (found.requests, found.rows, found.absent, found.given) == (12, 48, 0, 0)
    assert found.numbers > 48 * 15
    assert main(["verify-serving", str(tmp_path / "log"), "--data", str(kept.folder / "prepared")]) == 0
    assert " 48 items in 12 requests: 0 differ" in capsys.readouterr().out
    # A feature that was something else is found.
    (path, *_) = sorted((tmp_path / "log" / "events").iterdir())
    table = pq.read_table(path)
    support = [
        s and [(k, v + 1) if k == "query_click" else (k, v) for k, v in s]
        for s in table["served_support"].to_pylist()
    ]
    place = table.column_names.index("served_support")
    pq.write_table(
        table.set_column(place, "served_support", pa.array(support, table.schema.field(place).type)), path
    )
    assert main(["verify-serving", str(tmp_path / "log"), "--data", str(kept.folder / "prepared")]) == 1
    assert "query_click support was " in capsys.readouterr().out


def test_what_is_not_logged(client: TestClient, tmp_path: Path) -> None:
    """Requests without a user, explanations; and what is marked: requests with data of their own."""
    client.post("/rank", json={"request": REQUEST | {"user_id": None}})
    client.post("/explain", json={"request": REQUEST})
    event = {"item": "i1", "engagement": "click", "time": NOW - 5}
    search(client, 1, sequence=[event])
    answer = search(client, 2)
    assert "explanations" not in answer
    client.__exit__(None, None, None)
    assert [row["served_given"] for row in rows(tmp_path / "log")] == [True] * 4 + [False] * 4


def test_a_worker_that_was_killed_leaves_what_it_wrote(kept: Exported, tmp_path: Path) -> None:
    log = RequestLog(tmp_path, kept.log.schema)
    event = CLICK | {"request_id": "r", "timestamp": NOW, "item_id": "i1"}
    log.came_back([event])
    log.came_back([event | {"item_id": "i2"}])
    assert log.adopt() == 0  # it still runs
    assert log._open_file is not None
    path = log._open_file.path
    whole = path.read_bytes()
    log.close()
    (tmp_path / "open" / "1-1.arrows").write_bytes(whole[:-3])  # killed within the second write
    other = RequestLog(tmp_path, kept.log.schema)
    other.close()
    assert sorted(row["item_id"] for row in rows(tmp_path)) == ["i1", "i1", "i2"]
    assert list((tmp_path / "open").iterdir()) == []


def test_a_full_disk_loses_nothing_that_was_served(
    kept: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RequestLog(tmp_path, kept.log.schema)
    event = CLICK | {"request_id": "r", "timestamp": NOW, "item_id": "i1"}

    log._ends.set()
    log._writer.join()  # so that only this thread writes

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            log.came_back([event])
        log.served(lambda: log.columns.came_back([event | {"item_id": "i2"}]))
        with pytest.raises(OSError, match="No space left"):
            log.flush()
    log.close()
    assert [row["item_id"] for row in rows(tmp_path)] == ["i2"]


def test_logs_that_cannot_be_verified(made: Exported, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="is not a request log"):
        verify_log(tmp_path, made.log)
    (tmp_path / "events").mkdir()
    pq.write_table(pa.table({"item_id": ["i1"]}), tmp_path / "events" / "a.parquet")
    with pytest.raises(LogError, match="is not a request log"):
        verify_log(tmp_path, made.log)
