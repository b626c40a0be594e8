"""The packages of the extra ``server``, each imported where it is used first."""

from __future__ import annotations

from interactrank.core.extras import require

__all__ = ["check_extra"]


def check_extra() -> None:
    """Raise an error with the pip line if a package of the extra is absent."""
    for package in ("orjson", "prometheus_client", "starlette", "uvicorn"):
        require(package, "server")
