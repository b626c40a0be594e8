"""Ids outside of their table are named before they are looked up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.data.loading.collate import request_batch
from interactrank.data.loading.id_checks import IdRangeError, check_ids, check_items
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.distributed.world import current_world
from tests.data.logs import prepared, random_log, schema
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared(Path(tmp_path_factory.mktemp("log")), *random_log(2, requests=40), schema=schema())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 5], r"feature 'f' has id 5 on rank 0, but table 't' has ids 0 to 4 \(1 such ids"),
        ([7, -1, 2], r"has id 7 on rank 0, .*\(2 such ids"),
        ([-(2**62)], r"has id -4611686018427387904"),
    ],
)
def test_the_first_wrong_id_is_named(ids: list[int], message: str) -> None:
    with pytest.raises(IdRangeError, match=message):
        check_ids(np.array(ids), 5, feature="f", table="t")


@pytest.mark.parametrize("ids", [[], [0, 4]])
def test_ids_of_the_table(ids: list[int]) -> None:
    check_ids(np.array(ids, np.int64), 5, feature="f", table="t")


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("items", [[0, 5], [5, -1], [2, 1, -3]])
def test_the_first_wrong_item_is_named(items: list[int], kind: type[np.signedinteger]) -> None:
    wrong = next(i for i in items if not 0 <= i < 5)
    with pytest.raises(
        IdRangeError, match=rf"column 'c' has item {wrong} on rank 0, but the catalogue has items 0 to 4 \("
    ):
        check_items(np.array(items, kind), 5, column="c")
    check_items(np.array([0, 4], kind), 5, column="c")


def _first_batch(folder: Path, table: str, rows: int) -> str:
    """What loading a batch says where rank 1 takes a table to have fewer rows than it has."""
    world, log = current_world(), PreparedDataset(folder)
    if world.rank == 1:
        log.manifest["tables"][table] = rows
    settings = LoaderSettings(batch_requests=6)
    loader = SearchLoader(log, "train", settings, rank=world.rank, world_size=world.size)
    try:
        next(loader.epoch(0))
    except IdRangeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("table", "features"),
    [("word", ["query_words", "title"]), ("category", ["categories"]), ("query", ["query_id"])],
)
def test_feature_table_id_and_rank_are_named(log: PreparedDataset, table: str, features: list[str]) -> None:
    good, bad = run_ranks(2, _first_batch, log.folder, table, 1)
    assert good == ""
    assert any(f"feature '{f}' has id " in bad for f in features)
    assert f"on rank 1, but table '{table}' has ids 0 to 0" in bad


def test_events_are_checked(log: PreparedDataset) -> None:
    """Requests without items look items up for their events alone."""
    log.manifest["tables"]["item"] = 0
    loader = SearchLoader(log, "train", LoaderSettings(batch_requests=1000, prefetch=0))
    with pytest.raises(IdRangeError, match=r"feature 'item of an event' has id .* table 'item'"):
        request_batch(next(loader.requests()))


@pytest.mark.parametrize("item", [-1, 12])
@pytest.mark.parametrize("column", ["candidates", "events.item", "excluded"])
def test_items_outside_of_the_catalogue(tmp_path: Path, column: str, item: int) -> None:
    damaged = prepared(tmp_path, *random_log(2, requests=40), schema=schema())
    path = damaged.files("train")[0]
    table = pq.read_table(path)
    lists = [[item for _ in row] for row in table[column].to_pylist()]
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, pa.array(lists, table.schema.field(column).type)), path)
    loader = SearchLoader(damaged, "train", LoaderSettings(batch_requests=1000, negatives=2, prefetch=0))
    with pytest.raises(IdRangeError, match=f"column '{column}' has item {item} on rank 0, .* items 0 to 11 "):
        next(loader.epoch(0))
