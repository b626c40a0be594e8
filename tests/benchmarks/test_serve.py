"""The generator counts from when a request was due; the benchmark runs with all that disturbs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks import report, serve
from benchmarks.open_loop import Connections, Load, generate

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


async def load_on(answers: list[bytes | None], pause: float = 0.0, rate: float = 200.0) -> Load:
    """20 requests on a server that stands still for its first ``pause`` seconds; None ends a connection."""
    left = list(answers)
    began = asyncio.get_running_loop().time()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(max(0.0, began + pause - asyncio.get_running_loop().time()))
                answer = left.pop(0) if left else ANSWER
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    connections = Connections("127.0.0.1", server.sockets[0].getsockname()[1])
    message = connections.message("GET", "/")
    found = await generate(
        connections, [message], lambda body: body.decode(), rate=rate, seconds=20 / rate, seed=0
    )
    server.close()
    return found


def test_a_slow_moment_counts_for_all_requests_that_fall_into_it() -> None:
    """The server answers nothing for half a second, in which all 20 requests are due."""
    load = asyncio.run(load_on([], pause=0.5))
    assert load.outcomes["good"] == 20
    assert len(load.ms) == 20
    # Requests are due within about 0.1 s. A closed loop would have sent one and waited: one slow, 19 fast.
    assert sorted(load.ms)[1] > 100


def test_outcomes_are_told_apart() -> None:
    refused = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
    load = asyncio.run(load_on([refused, wrong, b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"], rate=20.0))
    assert dict(load.outcomes) == {"refused": 1, "wrong": 1, "status 500": 1, "good": 17, "never answered": 0}


def test_a_connection_that_ends_is_broken_unless_it_was_open_before() -> None:
    assert asyncio.run(load_on([None], rate=20.0)).outcomes["broken"] == 1
    load = asyncio.run(load_on([ANSWER, None], rate=20.0))
    assert (load.outcomes["good"], load.outcomes["broken"]) == (20, 0)


@pytest.mark.slow
def test_a_tiny_service(tmp_path: Path) -> None:
    path = serve.main(["--smoke", "--output", str(tmp_path)])
    result = json.loads(path.read_text())
    assert report.problems(result) == []
    (table,) = result["tables"]
    alone, disturbed = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
    assert alone["good"] > 0
    assert disturbed["good"] > 0
    for wrong in ("wrong", "unknown", "status"):
        assert wrong not in alone["other outcomes"] + disturbed["other outcomes"]
    assert ", 0 of these lost" in table["note"]
