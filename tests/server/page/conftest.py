from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from interactrank.server.app import make_app
from interactrank.serving import PreRanker
from tests.server.conftest import HERE, settings_of
from tests.serving.exported import Exported, export, export_again


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An export with what the page shows."""
    made = export(tmp_path_factory.mktemp("shown"))
    export_again(made, made.artifact, browse=made.folder / "log", replace_newer=True)
    return made


@pytest.fixture(scope="session")
def ranker(shown: Exported) -> PreRanker:
    return PreRanker.open(shown.artifact)


@pytest.fixture(scope="session")
def page(shown: Exported) -> Iterator[TestClient]:
    with TestClient(make_app(settings_of(shown.artifact)), base_url=HERE) as client:
        yield client
