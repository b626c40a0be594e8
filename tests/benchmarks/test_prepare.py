from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import history_join, prepare, prepare_limit
from benchmarks.history_join import Counts, check, forms, some_requests
from benchmarks.prepare_limit import limit_step
from benchmarks.synthetic_log import CANDIDATES, prepared, write_log
from interactrank.data.prepared.dataset import PreparedDataset


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared(tmp_path_factory.mktemp("log"), 200 * CANDIDATES, items=200)


def options(folder: Path, **changes: Any) -> argparse.Namespace:
    usual = {
        "events": [500],
        "memory_limit": "1GB",
        "threads": 1,
        "cosine": False,
        "smoke": False,
        "demo": False,
    }
    usual |= {"folder": folder, "logs": None, "memory_of": None, "given": []}
    return argparse.Namespace(**usual | changes)


def test_scan_and_prepare_read_the_whole_log(tmp_path: Path) -> None:
    write_log(tmp_path / "log", 500)
    assert prepare.scan_step(tmp_path / "log", 1)() == 500 + 1000  # events and items
    found: dict[str, Any] = {}
    prepare.prepare_step(tmp_path / "log", options(tmp_path), found)()
    assert found["requests"] == 500 / CANDIDATES
    assert found["output_mib"] > 0
    assert all(wall > 0 for wall, _ in found["stages"].values())
    (row,) = [
        r for r in prepare._stages([{"rows": 500, **found}])["rows"] if r[1] == "stores of cross features"
    ]
    assert row[2:4] == list(found["stages"]["stores of cross features"])
    assert [p.name for p in tmp_path.iterdir()] == ["log"]  # nothing is left


def test_the_limit_joins_every_event(tmp_path: Path) -> None:
    write_log(tmp_path / "log", 500)
    step = limit_step(tmp_path / "log", 1, "1GB")
    assert [step(), step()] == [500, 500]


def test_the_limit_counts_by_hand() -> None:
    """Clicks at 1 and 2 on (q, 7), at 2 on (q, 8): what happens at a moment does not count at that moment."""
    with duckdb.connect() as db:
        db.execute(
            "CREATE TABLE sorted AS SELECT * FROM (VALUES "
            "('q', 7, 1, 1), ('q', 7, 2, 1), ('q', 8, 2, 1), ('q', 7, 3, 0), ('p', 7, 9, 0)"
            ") t(query, item_id, timestamp, click)"
        )
        db.execute(prepare_limit.RUNNING.format(name="pairs", by="query, item_id"))
        db.execute(prepare_limit.RUNNING.format(name="totals", by="query"))
        found = db.execute(prepare_limit.JOIN + " ORDER BY query DESC, timestamp, item_id").fetchall()
    assert [row[-2:] for row in found] == [(0, 0), (1, 1), (0, 1), (2, 3), (0, 0)]


def test_the_demo_is_simulated_and_prepared(tmp_path: Path) -> None:
    (one,) = prepare.groups(options(tmp_path, events=[1000], demo=True))
    prepare.write_demo_log(tmp_path / "log", 1000)
    events = pq.read_metadata(tmp_path / "log" / "events.parquet").num_rows
    assert 800 <= events <= 1200  # 40 requests of 20 to 30
    assert [c.work for c in one.contestants] == [events] * 3
    found: dict[str, Any] = {}
    prepare.prepare_step(tmp_path / "log", options(tmp_path, demo=True), found)()
    assert found["requests"] == 40


def test_the_cosines_are_prepared_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(prepare, "prepare_log", lambda *args: seen.append(args[2]) or {"requests": {}})
    monkeypatch.setattr(prepare, "_mib", lambda folder: 0.0)
    for cosine in (False, True):
        prepare.prepare_step(tmp_path / "log", options(tmp_path, cosine=cosine), {})()
    assert [sum("cosine" in f.kind for f in of.cross_features) for of in seen] == [0, 3]


def test_a_group_for_each_size(tmp_path: Path) -> None:
    (one,) = prepare.groups(options(tmp_path, events=[510], cosine=True))
    assert one.name == "prepare_500"  # whole requests
    assert [(c.name, c.work) for c in one.contestants] == [("scan", 500), ("limit", 500), ("prepare", 500)]


def test_memory_is_measured_on_the_logs_that_lie_ready(tmp_path: Path) -> None:
    write_log(tmp_path / "events_500" / "log", 500)
    (one,) = prepare.groups(options(tmp_path, logs=tmp_path, memory_of="prepare_500/scan"))
    step = one.contestants[0].make()
    assert step() == 1500
    assert step() is None  # once is enough


def test_rounds_are_measured_after_one_to_warm_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(prepare, "scan_step", lambda *_: lambda: calls.append("s"))
    monkeypatch.setattr(prepare, "limit_step", lambda *_: lambda: calls.append("l"))
    monkeypatch.setattr(prepare, "prepare_step", lambda *_: lambda: calls.append("p"))
    for events, expected in ((500, "pls" + "slp" + "pls"), (prepare.LARGE, "slp" + "pls")):
        calls.clear()
        of = prepare.group(tmp_path, events, options(tmp_path))
        assert of.measure is not None
        assert [len(s.wall) for s in of.measure(2, 3).values()] == [2, 2, 2]
        assert "".join(calls) == expected


def test_the_log_shows_each_item_once_in_a_request(tmp_path: Path) -> None:
    write_log(tmp_path, 500, items=60)
    events = pq.read_table(tmp_path / "events.parquet")
    shown = events["item_id"].to_numpy().reshape(-1, CANDIDATES)
    assert all(len(set(row)) == CANDIDATES for row in shown.tolist())
    times = events["timestamp"].to_numpy()
    assert (np.diff(times) >= 0).all()


def test_all_joins_count_what_the_store_counts(log: PreparedDataset) -> None:
    asked = some_requests(log, 40)
    assert len(asked) == 40
    check(forms(log, log.folder.parent / "log", asked, 1), asked)


@pytest.mark.parametrize("name", ["duckdb_asof", "duckdb_range"])
def test_another_count_is_an_error(log: PreparedDataset, name: str) -> None:
    asked = some_requests(log, 40)
    of = forms(log, log.folder.parent / "log", asked, 1)
    original = of[name]

    def wrong() -> Counts:
        pairs, totals = original()
        pairs[3, 1] += 1
        return pairs, totals

    with pytest.raises(AssertionError, match=name):
        check(of | {name: wrong}, asked)


def test_the_join_counts_by_hand(log: PreparedDataset) -> None:
    # One request: clicks of the same query on the same item, earlier, one by one in Python.
    asked = some_requests(log, 40).take(np.array([39]))
    events = pq.read_table(log.folder.parent / "log" / "events.parquet").to_pylist()
    time = int(asked.table["time"][0].as_py())
    query = next(e["query"] for e in events if e["timestamp"] == time)
    clicks = [(e["item_id"], e["timestamp"]) for e in events if e["query"] == query and e["click"]]
    before = [(item, t) for item, t in clicks if t < time]
    pairs, totals = forms(log, log.folder.parent / "log", asked, 1)["duckdb_range"]()
    recent = time - history_join.WINDOW_MS
    assert totals.tolist() == [[len(before), sum(t >= recent for _, t in before)]]
    items = asked.jagged("candidates").values
    assert pairs[:, 0].tolist() == [sum(i == item for i, _ in before) for item in items]
