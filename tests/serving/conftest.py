from __future__ import annotations

import pytest

from interactrank.serving import PreRanker
from tests.serving.exported import Exported, export


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def ranker(made: Exported) -> PreRanker:
    return PreRanker.open(made.artifact)
