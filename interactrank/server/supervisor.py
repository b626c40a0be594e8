"""The supervisor: binds the port, starts the workers, and starts another for each that ends."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from interactrank.core.errors import UserError
from interactrank.server.extras import check_extra
from interactrank.server.request_times import log_event
from interactrank.server.settings import ServerSettings

__all__ = ["ServerError", "serve"]

logger = logging.getLogger(__name__)
_YOUNG = 5.0
"""Seconds: a worker that ends earlier did not start well, and the next one waits."""
_LONGEST_WAIT = 30.0


class ServerError(UserError, OSError):
    """The server cannot start; the message says why."""


def serve(settings: ServerSettings) -> int:
    """Serve until a signal ends it; return the exit code.

    Workers are forked from this process, which has imported everything and computed nothing, so that one that
    is killed is replaced at once, and they share the pages of what is imported and mapped.

    Raises:
        ArtifactError: an export cannot be opened.
        ServerError: the port cannot be listened on.
    """
    with (
        tempfile.TemporaryDirectory(prefix="interactrank-") as metrics,
        _environment("PROMETHEUS_MULTIPROC_DIR", metrics),  # before prometheus_client is imported first
        _listen(settings) as listening,
    ):
        check_extra()
        from interactrank.server.worker import work
        from interactrank.serving import Version

        for of in settings.models.values():
            Version.current(of.export)
        host, port = listening.getsockname()[:2]
        logger.info("answering on http://%s:%d with %d workers", host, port, settings.workers)
        return _Supervisor(settings, listening, work).run()


class _Supervisor:
    """Keeps workers alive.

    Args:
        settings: of the service.
        listening: socket that they share.
        work: what each runs.
    """

    def __init__(self, settings: ServerSettings, listening: socket.socket, work: Any) -> None:
        self._arguments, self._work = (settings, listening, os.getpid()), work
        self._number = settings.workers
        self._workers: dict[Any, float] = {}  # process -> when it was started
        self._wait, self._ends = 0.0, False

    def run(self) -> int:
        """Return 0 after a signal to end."""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._end)
        while not self._ends:
            while len(self._workers) < self._number:
                self._start()
            wait([process.sentinel for process in self._workers], timeout=0.2)
            self._bury()
        for process in self._workers:
            process.terminate()
        for process in self._workers:
            process.join(15)
            process.kill()
        return 0

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ends = True

    def _start(self) -> None:
        process = multiprocessing.get_context("fork").Process(target=self._run, daemon=True)
        process.start()
        self._workers[process] = time.monotonic()
        log_event("worker_started", pid=process.pid)

    def _run(self) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        try:
            self._work(*self._arguments)
        except UserError as error:
            logger.error("a worker cannot start: %s", error)
            raise SystemExit(1) from None

    def _bury(self) -> None:
        """Forget workers that have ended; wait before the next one, if they end soon after their start."""
        from prometheus_client.multiprocess import mark_process_dead

        for process in [p for p in self._workers if not p.is_alive()]:
            age = time.monotonic() - self._workers.pop(process)
            mark_process_dead(process.pid)
            log_event("worker_ended", pid=process.pid, code=process.exitcode)
            self._wait = 0.0 if age > _YOUNG else min(_LONGEST_WAIT, 2 * self._wait + 0.5)
            until = time.monotonic() + self._wait
            while time.monotonic() < until and not self._ends:
                time.sleep(0.05)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host, settings.port))
        found.listen(2048)
    except OSError as error:
        found.close()
        raise ServerError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); name another --port"
        ) from None
    found.set_inheritable(True)
    return found
