"""`loader.since` leaves out the training requests before a moment, also in the middle of a row group."""

from pathlib import Path

import numpy as np
import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from tests.data import logs

EVENTS = [logs.event(f"r{n:02}", "ada", "red", "i1", 60 * n, click=1) for n in range(20)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Twenty requests, one an hour, in row groups of 3 and files of 8."""
    folder = Path(tmp_path_factory.mktemp("since"))
    settings = {"group_requests": 3, "file_requests": 8, "block_requests": 4}
    return logs.prepared(folder, EVENTS, [logs.item("i1")], schema=logs.minimal(), settings={
        **settings, "split": {"test_share": 0.1, "validation_share": 0}})  # fmt: skip


def index(log: PreparedDataset, split: str = "train", ranks: int = 1, **settings: object) -> list[int]:
    """Rows of the split that are read, on all ranks."""
    given = LoaderSettings.model_validate({"batch_requests": 4, "prefetch": 0, **settings})
    loaders = [SearchLoader(log, split, given, rank=r, world_size=ranks) for r in range(ranks)]
    return sorted(int(i) for loader in loaders for batch in loader.epoch(1) for i in batch.request_index)


@pytest.mark.parametrize(
    ("since", "first"), [("2024-01-01T04:00:00", 4), ("2024-01-01T03:59:59", 4), ("2024-01-01T06:00:00", 6)]
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_requests_from_then_on(log: PreparedDataset, since: str, first: int, ranks: int) -> None:
    assert index(log, ranks=ranks, since=since) == list(range(first, 18))


def test_other_splits_are_whole(log: PreparedDataset) -> None:
    assert index(log, "test", since="2030-01-01") == [0, 1]


def test_the_projection_is_fitted_on_the_last_of_them(log: PreparedDataset) -> None:
    settings = LoaderSettings(
        batch_requests=4, prefetch=0, since="2024-01-01T10:00:00", projection_share=0.25
    )
    batches = list(SearchLoader(log, "train", settings).epoch(0))
    at = np.concatenate([b.request_index.numpy() for b in batches])
    fits = np.concatenate([b.fits_projection.numpy() for b in batches])
    assert sorted(at[fits]) == [16, 17]  # a quarter of the 8 requests from 10 on


def test_nothing_since_then(log: PreparedDataset) -> None:
    with pytest.raises(DatasetError, match="split 'train' has 0 requests since 2030-01-01"):
        index(log, since="2030-01-01")
