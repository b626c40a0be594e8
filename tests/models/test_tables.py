"""SearchTables against rows of the weights, one value at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from interactrank.data.collate import collate, item_batch, request_batch
from interactrank.data.loader import SearchLoader
from interactrank.data.prepared import PreparedLog
from interactrank.data.settings import LoaderSettings
from interactrank.models.tables import SearchTables
from tests.data.logs import prepared, random_log, schema


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedLog:
    events, items, users = random_log(4)
    wanted = schema(
        # A table of requests alone beside one of items alone (category, summed) and one of both (word).
        "features.request.2={name: letters, kind: trigrams, column: query, table: letters}",
        "tables.letters={dim: 8, ids: hash, rows: 20}",
        # Items have the sequence's table of queries too.
        "features.item.3={name: brand, kind: id, column: brand, table: query}",
    )
    return prepared(tmp_path_factory.mktemp("log"), events, items, users, schema=wanted)


@pytest.fixture(scope="module")
def tables(log: PreparedLog) -> SearchTables:
    torch.manual_seed(0)
    return SearchTables(layout=log.layout, init_scale=0.1)


def weight(tables: SearchTables, table: str) -> Tensor:
    """The weights of a table; it must be in exactly one collection."""
    found = [p for name, p in tables.named_parameters() if name.split(".")[-2].lower() == table]
    assert len(found) == 1
    return found[0]


def test_every_table_is_there_once_with_its_shape(log: PreparedLog, tables: SearchTables) -> None:
    for table, rows in log.layout.table_rows.items():
        assert weight(tables, table).shape == (rows, log.schema.tables[table].dim)
    assert len(list(tables.parameters())) == len(log.layout.table_rows)


def rows_of(log: PreparedLog, feature: str, items: np.ndarray) -> list[list[int]]:
    jagged = log.items.features[feature]
    lists = np.split(jagged.values, np.cumsum(jagged.lengths)[:-1])
    return [lists[i].tolist() for i in items]


def test_embeddings_of_all_features(log: PreparedLog, tables: SearchTables) -> None:
    settings = LoaderSettings(batch_requests=9, prefetch=0)
    part = list(SearchLoader(log, "train", settings, shuffle=False).requests())[4]
    batch = collate(part, part.candidates(), log.items)
    looked = tables(batch)
    items = batch.item_index.numpy()
    assert set(looked.request) == {"query_id", "query_words", "letters"}
    assert set(looked.item) == {"item_id", "categories", "title", "brand"}
    assert set(looked.event) == {"item", "query"}
    for f in [*log.layout.sparse("request"), *log.layout.sparse("item")]:
        assert f.table is not None
        of_request = f.name in looked.request
        lists = part.table[f"feature.{f.name}"].to_pylist() if of_request else rows_of(log, f.name, items)
        pooled = torch.sum if log.schema.tables[f.table].pooling == "sum" else torch.mean
        expected = torch.stack([pooled(weight(tables, f.table)[ids], 0) for ids in lists])
        found = looked.request[f.name] if of_request else looked.item[f.name]
        assert torch.allclose(found, expected, atol=1e-6), f.name
    events = [i for row in part.table["events.item"].to_pylist() for i in row]
    assert len(events) > 5
    item_rows = [ids[0] for ids in rows_of(log, "item_id", np.array(events))]
    assert torch.equal(looked.event["item"], weight(tables, "item")[item_rows])
    queries = [q for row in part.table["events.query"].to_pylist() for q in row]
    assert torch.equal(looked.event["query"], weight(tables, "query")[queries])


def test_sides_alone_are_those_of_the_whole(log: PreparedLog, tables: SearchTables) -> None:
    part = next(SearchLoader(log, "train", LoaderSettings(batch_requests=9, prefetch=0)).requests())
    batch = collate(part, part.candidates(), log.items)
    whole = tables(batch)
    requests = tables(request_batch(part))
    items = tables(item_batch(log.items, batch.item_index.numpy(), log.layout))
    for name, rows in whole.request.items():
        assert torch.equal(requests.request[name], rows)
    for name, rows in whole.event.items():
        assert torch.equal(requests.event[name], rows)
    for name, rows in whole.item.items():
        assert torch.equal(items.item[name], rows)
    assert all(len(rows) == 0 for rows in [*requests.item.values(), *items.request.values()])


def test_gradients_reach_every_table(log: PreparedLog, tables: SearchTables) -> None:
    settings = LoaderSettings(batch_requests=30, prefetch=0)
    looked = tables(list(SearchLoader(log, "train", settings, shuffle=False).epoch(0))[-1])
    total = sum(rows.sum() for side in looked for rows in side.values())
    total.backward()
    for name, parameter in tables.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_schema_without_ids(tmp_path_factory: pytest.TempPathFactory) -> None:
    events, items, users = random_log(4, requests=20)
    wanted = schema(
        "features={request: [], item: [{name: price, kind: number, column: price}]}",
        "tables={}",
        "sequence=null",
        "iqp=[]",
    )
    log = prepared(tmp_path_factory.mktemp("log"), events, items, users, schema=wanted)
    batch = next(SearchLoader(log, "train", LoaderSettings(prefetch=0)).epoch(0))
    tables = SearchTables(layout=log.layout, init_scale=0.1)
    assert tuple(tables(batch)) == ({}, {}, {})
    assert batch.event_ids is batch.shared_ids is batch.item_ids is batch.request_ids is None
