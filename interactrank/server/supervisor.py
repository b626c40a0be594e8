"""Run a service."""

from __future__ import annotations

import uvicorn

from interactrank.server.app import make_app
from interactrank.server.settings import ServerSettings

__all__ = ["serve"]


def serve(settings: ServerSettings) -> int:
    """Serve until a signal ends it; return the exit code."""
    app = make_app(settings)
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, access_log=False)
    return 0
