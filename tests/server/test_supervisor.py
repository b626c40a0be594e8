"""A real server: several processes on one port; the killed are replaced, versions swapped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from interactrank.cli import main
from tests.serving.exported import Exported, export_again

REQUEST = {"query": "red", "hour": None, "query_vector": None}


class Server:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log
        self.url = self.until(lambda: re.search(r"http://[\d.:]+", log.read_text()))[0]
        self.until(self.is_ready)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def until(self, holds: Callable[[], object]) -> object:
        deadline = time.monotonic() + 120
        while not (found := holds()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return found

    def workers(self) -> set[int]:
        """Those that were started and have not ended, by the log."""
        started, ended = (
            {of["pid"] for of in self.events(f"worker_{what}")} for what in ("started", "ended")
        )
        return started - ended

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of the log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [of for of in lines if of["event"] == name]

    def version(self) -> str:
        return httpx.post(f"{self.url}/rank", json={"request": REQUEST}).json()["version"]


@pytest.fixture
def server(made: Exported, tmp_path: Path) -> Iterator[Server]:
    shutil.copytree(made.artifact, tmp_path / "artifact")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "interactrank.cli", "serve", str(tmp_path / "artifact")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "INTERACTRANK_TOKEN": "t", "COLUMNS": "400"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--port", "0", "--workers", "2"], stderr=file, text=True, env=environment
        )
    try:
        yield Server(process, log)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_workers_are_replaced_versions_swapped_and_the_end_is_clean(
    made: Exported, server: Server, tmp_path: Path
) -> None:
    first = server.workers()
    assert len(first) == 2
    killed = min(first)
    os.kill(killed, signal.SIGKILL)
    server.until(lambda: len(server.workers()) == 2 and killed not in server.workers())
    answers = {server.version() for _ in range(10)}
    assert len(answers) == 1
    version = export_again(made, tmp_path / "artifact", precision="float16")

    def all_swapped() -> bool:
        return sum(of["version"] == version.name for of in server.events("swapped")) == 2

    server.until(all_swapped)
    assert {server.version() for _ in range(10)} == {version.name}
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'interactrank_swaps_total{model="main",result="done"} 2.0' in metrics
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    for worker in server.workers():
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pytest.mark.slow
def test_workers_end_with_a_supervisor_that_is_killed(server: Server) -> None:
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/cmdline").exists() and is_serving(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_serving(pid: int) -> bool:
    return b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_port_that_is_taken_is_one_error(made: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(made.artifact), "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"interactrank serve: cannot listen on 127.0.0.1:{port} (Address already in use); "
        "name another --port\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name an export, or a config with --config; not both"),
        (["x", "--config", "y"], "name an export, or a config with --config; not both"),
        (["x", "--port", "70000"], "port: input should be less than or equal to 65535"),
        (["nowhere", "--port", "0"], "'nowhere' is not an export"),
    ],
)
def test_wrong_arguments(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *words]) == 1
    assert message in capsys.readouterr().err
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
