from pathlib import Path

import pytest

from interactrank.data.prepared.dataset import PreparedDataset
from tests.models import search


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return search.prepared(Path(tmp_path_factory.mktemp("log")))
