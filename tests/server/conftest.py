from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from interactrank.server.app import make_app
from interactrank.server.settings import Limits, ServedModel, ServerSettings
from tests.serving.exported import Exported, export

HERE = "http://127.0.0.1"


def settings_of(artifact: Path, **more: object) -> ServerSettings:
    """A service with one model and small limits."""
    limits = Limits(candidates=50, k=20, explained=5, sequence=3, text=40, body_bytes=20_000)
    return ServerSettings(models={"main": ServedModel(export=artifact)}, limits=limits, **more)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def client(made: Exported) -> Iterator[TestClient]:
    with TestClient(make_app(settings_of(made.artifact)), base_url=HERE) as client:
        yield client
