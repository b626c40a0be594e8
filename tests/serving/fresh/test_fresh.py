"""What is recorded counts as if the log had been prepared with it."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactrank.evaluation.scorers import ModelScorer
from interactrank.serving import PreRanker, RequestError
from interactrank.serving.fresh import EventLogError, runs
from interactrank.serving.fresh.frames import encode
from interactrank.serving.fresh.local_log import LocalLog
from tests.data import logs
from tests.models import search
from tests.serving.exported import export_again
from tests.serving.fresh.exports import CUT, Parts


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("parts"))


def live(parts: Parts, request_id: str) -> dict[str, Any]:
    """A logged request as it would have come to a server."""
    row = next(r for r in parts.rows if r["request_id"] == request_id)
    return {n: row[n] for n in ("query", "user_id", "session_id", "timestamp", "hour", "query_vector")}


def same_as_prepared(parts: Parts, ranker: PreRanker) -> int:
    """Check the cross features and scores of all requests from the cut on; return how many there are."""
    prepared = search.requests(parts.whole, "test")
    rows = logs.requests(parts.whole, "test")
    expected = parts.whole.cross.look_up(prepared.keys())
    scores = ModelScorer(parts.made.model, parts.whole, 0, torch.device("cpu"))(prepared, None).numpy()
    later = [n for n, row in enumerate(rows) if row["time"] >= CUT]
    items = len(parts.whole.items)
    histories = ranker.fresh.histories()
    for n in later:
        request = live(parts, rows[n]["request_id"])
        of = ranker._live.read([request], histories)
        assert of.requests.table["events.item"].to_pylist() == [rows[n]["events.item"]]
        assert of.requests.table["events.action"].to_pylist() == [rows[n]["events.action"]]
        found = histories.cross.look_up(of.keys)
        own = slice(n * items, (n + 1) * items)
        np.testing.assert_array_equal(found.rate, expected.rate[own])
        np.testing.assert_array_equal(found.support, expected.support[n : n + 1])
        np.testing.assert_array_equal(found.number, expected.number[own])
        np.testing.assert_array_equal(found.counts, expected.counts[own])
        some = ranker.rank(request)
        np.testing.assert_allclose(some.scores, scores[n][some.rows], rtol=1e-5, atol=1e-5)
        few = ranker.rank(request, ["i3", "i7", "i1"])
        np.testing.assert_allclose(few.scores, scores[n][few.rows], rtol=1e-5, atol=1e-5)
    return len(later)


@pytest.mark.parametrize("block", [pytest.param(1, marks=pytest.mark.slow), 7, 1000])
def test_recorded_events_count_as_prepared_ones(parts: Parts, tmp_path: Path, block: int) -> None:
    ranker = parts.open(events=tmp_path / "log")
    for start in range(0, len(parts.later), block):
        result = ranker.record(parts.later[start : start + block])
        assert result.events == len(parts.later[start : start + block])
    assert same_as_prepared(parts, ranker) > 10
    again = parts.open(events=tmp_path / "log")
    assert same_as_prepared(parts, again) > 10


def test_the_export_alone_lacks_them(parts: Parts) -> None:
    with pytest.raises(AssertionError):
        same_as_prepared(parts, parts.open())


def now(parts: Parts, **others: Any) -> dict[str, Any]:
    """An event of this very moment."""
    row = parts.later[-1] | {"request_id": "now", "event_time": None, "click": 1, "save": 0}
    return row | {"timestamp": time.time_ns() // 1_000_000} | others


def clicks(ranker: PreRanker, request: dict[str, Any]) -> dict[str, float]:
    """Support of the share of the query's clicks, and of what is known of the first result."""
    found = ranker.rank(request, ["i5"], explain=True).explanations
    assert found is not None
    return {name: found[0].support.get(name, found[0].raw[name]) for name in found[0].raw}


def test_a_click_counts_in_the_next_request(parts: Parts, tmp_path: Path) -> None:
    ranker = parts.open(events=tmp_path / "log")
    request = {"query": "blue sock", "user_id": "somebody new", "hour": 1, "query_vector": None}
    for n in range(1, 40):
        ranker.record(
            [now(parts, request_id=f"n{n}", query="blue sock", user_id="somebody new", item_id="i5")]
        )
        after = ranker._live.read([request], ranker.fresh.histories())
        assert after.requests.table["events.item"].to_pylist() == [[5] * min(n, 3)]
        if n == 1:
            before = clicks(ranker, request)
    assert clicks(ranker, request)["query_click"] == before["query_click"] + 38


def test_a_row_that_is_wrong_leaves_nothing_of_its_call(parts: Parts, tmp_path: Path) -> None:
    ranker = parts.open(events=tmp_path / "log")
    with pytest.raises(RequestError, match="event 1: 'click' must be a count"):
        ranker.record([now(parts), now(parts, click=-2)])
    with pytest.raises(RequestError, match="events are a list of mappings"):
        ranker.record(now(parts))  # type: ignore[arg-type]
    assert ranker.fresh.histories().last == -1
    assert ranker.record([]).events == 0


def test_unknown_items_are_skipped_and_named_or_an_error(parts: Parts, tmp_path: Path) -> None:
    rows = [now(parts, item_id="zz"), now(parts), now(parts, item_id="yy"), now(parts, item_id="zz")]
    result = parts.open(events=tmp_path / "log").record(rows)
    assert (result.events, result.unknown) == (1, ["zz", "yy"])
    strict = parts.open(unknown_items="error")
    with pytest.raises(RequestError, match=r"event 0: the catalogue has no item 'zz' \(2 unknown"):
        strict.record(rows)
    assert strict.fresh.histories().last == -1


def test_what_cannot_be_kept_counts_nowhere(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = parts.open(events=tmp_path / "log")
    ranker.record([now(parts)])
    before = ranker.fresh.histories()

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(EventLogError, match="No space left on device"):
            ranker.record([now(parts, item_id="i2")])
    assert ranker.fresh.histories() is before
    ranker.record([now(parts, item_id="i2")])
    assert ranker.fresh.histories() is not before


def test_workers_that_share_a_folder_see_each_others_events(parts: Parts, tmp_path: Path) -> None:
    one, other = parts.open(events=tmp_path / "log"), parts.open(events=tmp_path / "log")
    request = {"query": "red", "user_id": "u1", "hour": 1, "query_vector": None}
    for n in range(6):
        (one, other)[n % 2].record([now(parts, request_id=f"w{n}", query="red", item_id="i5")])
        assert clicks(one, request) == clicks(other, request)


def test_an_export_replays_what_it_does_not_have(parts: Parts, tmp_path: Path) -> None:
    """All rows are in the log before the export opens it first: its own are told by the time."""
    log = LocalLog(tmp_path / "log")
    for start in range(0, len(parts.rows), 50):
        columns = parts.open().fresh._reader.columns(parts.rows[start : start + 50])
        log.append(encode(columns))
    ranker = parts.open(events=tmp_path / "log")
    assert same_as_prepared(parts, ranker) > 10
    # What comes after the export was opened counts, however old it is.
    request = {"query": "red", "user_id": "u1", "hour": 1, "query_vector": None}
    before = clicks(ranker, request)
    ranker.record([now(parts, request_id="late", query="red", item_id="i5", timestamp=CUT - 10 * logs.DAY)])
    after = clicks(ranker, request)
    assert after["query_click"] == before["query_click"] + 1
    assert after["query_click_rate"] == before["query_click_rate"]  # the export has the impression
    assert clicks(parts.open(events=tmp_path / "log"), request) == after


def test_readers_see_a_row_in_all_features_or_in_none(parts: Parts) -> None:
    """Every event is one click and one impression of one query and user: their counts agree at any moment."""
    ranker = parts.open()
    request = {"query": "sock of all", "user_id": "reader", "hour": 1, "query_vector": None}
    seen, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            found = clicks(ranker, request)
            seen.append((found["query_click"], found["query_click_rate"], found["user_click"]))

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        for n in range(60):
            names = {"query": "sock of all", "user_id": "reader", "item_id": "i5"}
            ranker.record([now(parts, request_id=f"c{n}", **names)])
        stop.set()
        for reader in readers:
            reader.result()
    assert len(set(seen)) > 3
    assert {count for count, *others in seen if {count} != set(others)} == set()


def test_sending_rows_again_counts_nothing_twice(parts: Parts) -> None:
    ranker = parts.open()
    for start in range(0, len(parts.later), 20):
        ranker.record(parts.later[start : start + 20])
        ranker.record(parts.later[max(0, start - 10) : start + 20])
    assert same_as_prepared(parts, ranker) > 10


def test_truncation_deletes_what_the_export_has_and_no_more(parts: Parts, tmp_path: Path) -> None:
    """Segments of a record each: three have requests of the export alone, the fourth also one after it."""
    log = LocalLog(tmp_path / "log", segment_bytes=1)
    reader = parts.open().fresh._reader
    for rows in (*(parts.earlier[10 * n : 10 * n + 10] for n in range(3)), parts.rows[-40:], parts.later[:9]):
        log.append(encode(reader.columns(rows)))
    ranker = parts.open(events=tmp_path / "log")
    ranker.record([now(parts)])
    before = ranker.fresh.histories()
    assert ranker.fresh.truncate() == 3
    assert ranker.fresh.truncate() == 0
    again = parts.open(events=tmp_path / "log").fresh.histories()
    for name, store in before.cross.stores.items():
        left = again.cross.stores[name]
        assert type(left) is type(store)
        for one, other in zip(getattr(store, "runs", ()), getattr(left, "runs", ()), strict=True):
            assert one.pair_times.tolist() == other.pair_times.tolist()


def test_versions_of_the_same_histories_count_the_same(parts: Parts, tmp_path: Path) -> None:
    """New items, or other vectors, make another version; what came before it, however old, still counts."""
    ranker = parts.open(events=tmp_path / "log")
    old = now(parts, request_id="late", query="red", item_id="i5", timestamp=CUT - 10 * logs.DAY)
    request = {"query": "red", "user_id": "u1", "hour": 1, "query_vector": None}
    ranker.record([old])
    other = export_again(parts.made, tmp_path / "other", precision="float16")
    assert other.name != ranker.version.name
    assert clicks(PreRanker.open(tmp_path / "other", events=tmp_path / "log"), request) == clicks(
        ranker, request
    )
    assert clicks(parts.open(), request)["query_click"] == clicks(ranker, request)["query_click"] - 1


def test_compaction_goes_on_while_rows_come_and_requests_read(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run is merged as rows come, but by the thread, and each state in between counts the same."""
    monkeypatch.setattr(runs, "AT_ONCE", 0)
    monkeypatch.setattr(runs, "SMALL", 4)
    ranker = parts.open()
    for start in range(0, len(parts.later), 5):
        ranker.record(parts.later[start : start + 5])
    assert same_as_prepared(parts, ranker) > 10
    ranker.fresh.compact()
    histories = ranker.fresh.histories()
    assert ranker.fresh._delta.due() is None
    assert histories.sequences is not None
    assert 1 <= len(histories.sequences.runs) <= 5
    assert same_as_prepared(parts, ranker) > 10
