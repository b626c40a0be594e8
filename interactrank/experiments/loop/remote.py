"""Searches that go over HTTP to ``interactrank serve`` instead of to exports opened in this process."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from interactrank.core.errors import UserError
from interactrank.core.files import atomic_write_text

__all__ = ["ServiceError", "ServiceRanker", "write_service_config"]

_PAUSE = 0.05  # seconds before the same is asked again


class ServiceError(UserError, RuntimeError):
    """The service does not answer as the experiment needs it; the message says what to do."""


class ServiceRanker:
    """A model of a service.

    A list counts only if the export of last night has made it: an answer by another version, one without
    cross features because of its deadline, and a refusal because the queue is full are asked again.

    Args:
        url: of the service, such as ``http://127.0.0.1:8000``.
        model: its name there.
        version: of the export that must answer.
        patience_s: seconds after which a request that has no such answer is an error.
        config: of the service; the error names it.

    Raises:
        ServiceError: the URL is not one of HTTP.
    """

    def __init__(self, url: str, model: str, version: str, *, config: Path, patience_s: float = 120) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ServiceError(f"'{url}' is not an address such as http://127.0.0.1:8000")
        self._host, self._port, self._base = parts.hostname, parts.port or 80, parts.path.rstrip("/")
        self._url, self._model, self._version, self._config = url, model, version, config
        self._patience_s = patience_s

    def best(
        self, requests: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]], k: int
    ) -> list[list[str]]:
        """Return the ids of the k best candidates of each of R requests, the best first.

        Raises:
            ServiceError: a request is refused, or has no answer of the version in time.
        """
        with self._connection() as connection:
            return [
                self._ask(connection, {"request": dict(of), "candidates": list(among), "k": k})
                for of, among in zip(requests, candidates, strict=True)
            ]

    @contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=max(1.0, self._patience_s))
        try:
            yield connection
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, body: dict[str, Any]) -> list[str]:
        text = json.dumps({**body, "model": self._model})
        until = time.monotonic() + self._patience_s
        while True:
            try:
                connection.request("POST", f"{self._base}/rank", text, {"content-type": "application/json"})
                answer = connection.getresponse()
                found = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()  # it connects again
                why = f"does not answer ({error})"
            else:
                if answer.status == 200:
                    if found["version"] == self._version and not found["degraded"]:
                        return list(found["ids"])
                    why = f"answers with version {found['version']}, and degraded: {found['degraded']}"
                elif answer.status == 503:
                    why = "has no time"
                else:
                    raise ServiceError(f"{self._url} refuses a search: {found['error']['message']}")
            if time.monotonic() > until:
                raise ServiceError(
                    f"{self._url} {why}; version {self._version} of the model {self._model} is needed: "
                    f"interactrank serve --config {self._config}"
                )
            time.sleep(_PAUSE)


def write_service_config(path: Path, exports: Mapping[str, Path]) -> None:
    """Write the config with which ``interactrank serve`` answers with all exports.

    Args:
        path: of the YAML file.
        exports: model -> folder of its export.
    """
    models = {name: {"export": str(folder.resolve())} for name, folder in exports.items()}
    atomic_write_text(path, yaml.safe_dump({"models": models}, sort_keys=False))
