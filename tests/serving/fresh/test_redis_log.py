"""Replicas that share a Redis stream end equal, and lose nothing that was acknowledged."""

from __future__ import annotations

import gc
import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interactrank.core import extras
from interactrank.serving import PreRanker
from interactrank.serving.fresh import EventLogError
from interactrank.serving.fresh.event_log import open_log
from interactrank.serving.fresh.redis_log import RedisLog
from tests.serving.fresh.exports import Parts
from tests.serving.fresh.test_fresh import clicks, now, same_as_prepared

redis = pytest.importorskip("redis", reason="needs the extra redis")
SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="needs redis-server (apt-get install redis-server)")
WAIT_S = 30


class Server:
    """A Redis that can be stopped and started again, with what it had."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.process = folder, None

    def url(self, stream: str) -> str:
        return f"redis://127.0.0.1:{self.port}/{stream}"

    def start(self) -> None:
        flags = {
            "port": self.port,
            "dir": self.folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen([str(SERVER), *words], stdout=subprocess.DEVNULL)
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            return bool(redis.Redis(port=self.port, retry=None).ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("parts"))


def test_records_are_read_in_order_from_any_position(server: Server) -> None:
    log = RedisLog(server.url("order"))
    assert log.first() == log.end == (0, 0)
    first = log.append(b"one")
    log.append(b"two")
    assert [payload for payload, _ in log.read((0, 0))] == [b"one", b"two"]
    assert list(log.read(first)) == [(b"two", log.end)]
    other = RedisLog(server.url("order"))
    assert other.end == log.end
    redis.Redis(port=server.port).xadd("order", {"something": "else"})
    assert [payload for payload, _ in other.read((0, 0))] == [b"one", b"two"]


def test_more_records_than_one_answer_has(server: Server) -> None:
    log = RedisLog(server.url("many"))
    for n in range(1100):
        log.append(b"%d" % n)
    assert [int(payload) for payload, _ in log.read((0, 0))] == list(range(1100))


def test_marks_and_truncation(server: Server) -> None:
    log = RedisLog(server.url("marks"))
    assert log.mark("a") == (0, 0)
    first = log.append(b"one")
    log.append(b"two")
    assert (log.mark("a"), log.mark("b")) == ((0, 0), log.end)
    assert log.truncate(first) == 1
    assert [payload for payload, _ in log.read((0, 0))] == [b"two"]


def test_replicas_end_equal_and_a_new_one_starts_from_the_log(parts: Parts, server: Server) -> None:
    one, other = (parts.open(events=server.url("replicas")) for _ in range(2))
    for n, start in enumerate(range(0, len(parts.later), 9)):
        (one, other)[n % 2].record(parts.later[start : start + 9])
    for ranker in (one, other):
        wait_for(lambda of=ranker: of.fresh.histories().last == max_time(parts))
        wait_for(lambda of=ranker: of.fresh._position == other.fresh.log.end)
        assert same_as_prepared(parts, ranker) > 10
    assert same_as_prepared(parts, parts.open(events=server.url("replicas"))) > 10


def max_time(parts: Parts) -> int:
    return max(max(r["timestamp"], r["event_time"] or 0) for r in parts.later)


def test_a_click_counts_on_every_replica(parts: Parts, server: Server) -> None:
    one, other = (parts.open(events=server.url("clicks")) for _ in range(2))
    request = {"query": "red", "user_id": "u1", "hour": 1, "query_vector": None}
    for n in range(5):
        one.record([now(parts, request_id=f"c{n}", query="red", item_id="i5")])
        expected = clicks(one, request)
        wait_for(lambda like=expected: clicks(other, request) == like)


def test_redis_away_and_back_loses_nothing(
    parts: Parts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(tmp_path)
    server.start()
    one, other = (parts.open(events=server.url("away")) for _ in range(2))
    request = {"query": "red", "user_id": "u1", "hour": 1, "query_vector": None}
    one.record([now(parts, request_id="a1", query="red", item_id="i5")])
    before = clicks(one, request)
    with caplog.at_level(logging.WARNING, "interactrank"):
        server.kill()
        with pytest.raises(EventLogError, match="cannot be written; the events are not acknowledged"):
            one.record([now(parts, request_id="a2", query="red", item_id="i5")])
        assert clicks(one, request) == before  # requests go on
        wait_for(lambda: "is away" in caplog.text)
        server.start()
        one.record([now(parts, request_id="a2", query="red", item_id="i5")])
        expected = clicks(one, request)
        assert expected["query_click"] == before["query_click"] + 1
        wait_for(lambda: clicks(other, request) == expected)
        wait_for(lambda: "is back" in caplog.text)
    assert clicks(parts.open(events=server.url("away")), request) == expected
    server.kill()


def test_a_stream_that_is_none_or_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("redis://127.0.0.1", "redis:///stream", "redis://127.0.0.1/a/b"):
        with pytest.raises(EventLogError, match="names no stream; write redis://host:port/stream-name"):
            open_log(url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"redis://user:secret@127.0.0.1:{free.getsockname()[1]}/s"
        with pytest.raises(EventLogError, match=r"cannot be opened .*check that Redis runs there") as error:
            open_log(url)
    assert "secret" not in str(error.value)
    with pytest.raises(EventLogError, match="'kafka://a/b' is neither a folder nor redis://host"):
        open_log("kafka://a/b")

    def absent(name: str, *_: Any) -> Any:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(extras.MissingExtraError, match=r"pip install 'interactrank\[redis\]'"):
        open_log("redis://127.0.0.1/s")


def test_the_thread_ends_with_the_pre_ranker(parts: Parts, server: Server) -> None:
    def threads() -> int:
        return sum(t.name == "events of Redis" for t in threading.enumerate())

    def forgotten() -> bool:
        gc.collect()
        return threads() <= before

    wait_for(lambda: gc.collect() >= 0)
    before = threads()
    ranker: PreRanker | None = parts.open(events=server.url("ends"))
    assert threads() >= 1
    del ranker
    wait_for(forgotten)


def test_what_others_wrote_or_deleted_is_not_asked_for_again(
    parts: Parts, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = parts.open(events=server.url("foreign"))
    client = redis.Redis(port=server.port)
    client.xadd("foreign", {"something": "else"})
    ranker.record([now(parts)])
    client.xadd("foreign", {"something": "else"})
    client.xtrim("foreign", maxlen=0, approximate=False)
    log = ranker.fresh.log
    wait_for(lambda: ranker.fresh.histories().last > 0 and log.end == ranker.fresh._position)
    asked: list[Any] = []
    monkeypatch.setattr(log, "read", lambda position: asked.append(position) or iter(()))
    ranker.fresh.histories()
    assert asked == []
