"""A worker: one process that answers, on a socket that all workers share."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import torch
import uvicorn

from interactrank.server.app import make_app
from interactrank.server.settings import ServerSettings

__all__ = ["work"]

_SWITCH = 0.0005
"""Seconds after which a thread that waits for the interpreter gets it; the usual 5 ms are a whole request."""


def work(settings: ServerSettings, listening: socket.socket, supervisor: int) -> None:
    """Answer until the process is told to end.

    Args:
        settings: of the service.
        listening: bound; other workers accept from it, too.
        supervisor: its process id.
    """
    sys.setswitchinterval(_SWITCH)
    torch.set_num_threads(1)  # workers share the processors among them
    config = uvicorn.Config(
        make_app(settings),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=10,
    )
    _Server(config, supervisor).run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that ends when its supervisor is gone, so that it does not keep the port."""

    def __init__(self, config: uvicorn.Config, supervisor: int) -> None:
        super().__init__(config)
        self._supervisor = supervisor

    async def main_loop(self) -> None:
        async def watch() -> None:
            while os.getppid() == self._supervisor:
                await asyncio.sleep(1)
            os.kill(os.getpid(), signal.SIGTERM)

        watcher = asyncio.create_task(watch())
        try:
            await super().main_loop()
        finally:
            watcher.cancel()
