"""Searches over HTTP: the same lists as in process, and only by the export of last night."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from interactrank.core.settings import parse_config
from interactrank.experiments.loop.arms import ModelRanker
from interactrank.experiments.loop.remote import ServiceError, ServiceRanker, write_service_config
from interactrank.server.app import make_app
from interactrank.server.settings import ServerSettings
from interactrank.serving import PreRanker
from interactrank.serving.artifact import current_name
from tests.serving.exported import export

CONFIG = Path("out/serve.yaml")
GOOD = {"model": "m", "version": "v2", "degraded": False, "ids": ["b", "a"], "unknown": []}

Start = Callable[[list[tuple[int, dict[str, Any]]]], tuple[str, list[dict[str, Any]]]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a service that gives these answers, the last one again and again; returns what it was asked."""
    servers = []

    def serve(answers: list[tuple[int, dict[str, Any]]]) -> tuple[str, list[dict[str, Any]]]:
        asked: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                status, body = answers[min(len(asked), len(answers)) - 1]
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_only_the_export_of_last_night_counts(start: Start) -> None:
    old, degraded, full = {**GOOD, "version": "v1"}, {**GOOD, "degraded": True}, {"error": {}}
    url, asked = start([(200, old), (200, degraded), (503, full), (200, GOOD)])
    ranker = ServiceRanker(url, "m", "v2", config=CONFIG)
    assert ranker.best([{"query": "q", "time": 5}], [["a", "b", "c"]], 2) == [["b", "a"]]
    expected = {"request": {"query": "q", "time": 5}, "candidates": ["a", "b", "c"], "k": 2, "model": "m"}
    assert asked == [expected] * 4


def test_a_service_that_does_not_swap_is_an_error(start: Start) -> None:
    url, _ = start([(200, {**GOOD, "version": "v1"})])
    ranker = ServiceRanker(url, "m", "v2", config=CONFIG, patience_s=0.0)
    with pytest.raises(ServiceError, match="answers with version v1") as caught:
        ranker.best([{"query": "q"}], [["a"]], 1)
    assert "version v2 of the model m is needed: interactrank serve --config" in str(caught.value)


def test_a_refusal_is_told(start: Start) -> None:
    url, _ = start([(422, {"error": {"code": "invalid", "field": "model", "message": "model: no 'm'"}})])
    with pytest.raises(ServiceError, match="refuses a search: model: no 'm'"):
        ServiceRanker(url, "m", "v2", config=CONFIG).best([{"query": "q"}], [["a"]], 1)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ServiceError, match="does not answer"):
            ServiceRanker(url, "m", "v2", config=CONFIG, patience_s=0.0).best([{"query": "q"}], [["a"]], 1)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "https://example.org", "http://"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ServiceError, match="is not an address such as"):
        ServiceRanker(url, "m", "v2", config=CONFIG)


def test_the_service_ranks_as_the_export_in_process(tmp_path: Path) -> None:
    made = export(tmp_path)
    write_service_config(tmp_path / "serve.yaml", {"main": made.artifact})
    values = yaml.safe_load((tmp_path / "serve.yaml").read_text())
    settings = parse_config(ServerSettings, values, "serve.yaml")
    version = str(current_name(made.artifact))
    pre_ranker = PreRanker.open(made.artifact)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(make_app(settings), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        known = {"hour": 1.0, "query_vector": [1.0, 2.0], "timestamp": 1_704_153_600_000}
        requests = [known | {"query": q, "user_id": "u1"} for q in ("red shoe", "hat")]
        candidates = [["i0", "i1", "i2", "i3", "i4"], ["i4", "i2", "i0"]]
        found = ServiceRanker(url, "main", version, config=CONFIG).best(requests, candidates, 3)
        assert found == ModelRanker(pre_ranker).best(requests, candidates, 3)
        server.should_exit = True
        thread.join()
