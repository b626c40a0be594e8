"""An open-loop generator of HTTP requests: Poisson arrivals, each latency from the moment that it was due.

A request that is due is sent whether or not those before it were answered, so that a slow moment counts for
all requests that fall into it (no coordinated omission). One connection carries one request at a time; a
request that finds none free opens another.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Checked = Callable[[bytes], str]
"""Body of an answer -> what it is: ``good``, ``degraded``, or what is wrong with it."""


@dataclass
class Load:
    """What came of the requests.

    Attributes:
        ms: of each request that was answered with 200, from when it was due.
        outcomes: ``good``, ``degraded``, ``refused`` (503), ``broken`` (connection), or what was wrong.
        late_ms: how late the generator itself sent each request; the figures hold if it is small.
    """

    ms: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    late_ms: list[float] = field(default_factory=list)


class Connections:
    """HTTP/1.1 connections that stay open."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def message(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The bytes of a request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body

    async def exchange(self, message: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body.

        Raises:
            OSError, asyncio.IncompleteReadError: the connection broke. On one that was open before, which the
                server may have closed meanwhile, the request is sent again, as clients do.
        """
        while self._free:
            reader, writer = self._free.pop()
            if reader.at_eof() or writer.is_closing():
                continue
            try:
                return await self._on(reader, writer, message)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
            except OSError:
                continue
        return await self._on(*await asyncio.open_connection(self.host, self.port), message)

    async def _on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
    ) -> tuple[int, bytes]:
        try:
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in lines:
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(lines[0].split()[1]), body


async def generate(
    connections: Connections, messages: list[bytes], check: Checked, *, rate: float, seconds: float, seed: int
) -> Load:
    """Send requests at a mean rate.

    Args:
        connections: to the server.
        messages: of the requests, in turn.
        check: of each answer.
        rate: requests a second.
        seconds: for how long.
        seed: of the arrivals.
    """
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(1 / rate, max(1, int(rate * seconds))))
    load, tasks = Load(), set()
    start = time.perf_counter()

    async def one(moment: float, message: bytes) -> None:
        try:
            status, body = await connections.exchange(message)
        except (OSError, asyncio.IncompleteReadError):
            load.outcomes["broken"] += 1
            return
        took = time.perf_counter() - start - moment
        if status == 200:
            load.ms.append(1000 * took)
            load.outcomes[check(body)] += 1
        else:
            load.outcomes["refused" if status == 503 else f"status {status}"] += 1

    for n, moment in enumerate(due.tolist()):
        ahead = moment - (time.perf_counter() - start)
        if ahead > 0:
            await asyncio.sleep(ahead)
        load.late_ms.append(1000 * max(0.0, time.perf_counter() - start - moment))
        task = asyncio.create_task(one(moment, messages[n % len(messages)]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=30)
    load.outcomes["never answered"] += len(tasks)
    return load
