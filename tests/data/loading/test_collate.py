"""Batches hold what was prepared, in the places that BatchLayout names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.batch import SearchBatch
from interactrank.data.loading.collate import collate, item_batch, request_batch
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from tests.data.logs import event, item, prepared, random_log, requests, schema, user

Ids = list[list[int]]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    events, items, users = random_log(2)
    return prepared(tmp_path_factory.mktemp("log"), events, items, users, schema=schema())


def some(log: PreparedDataset, negatives: int = 0) -> tuple[list[dict[str, Any]], SearchBatch]:
    """Six requests from the middle of the training split, prepared and as a batch."""
    settings = LoaderSettings(batch_requests=7, negatives=negatives, prefetch=0)
    batch = list(SearchLoader(log, "train", settings, shuffle=False).epoch(0))[4]
    rows = requests(log)
    return [rows[i] for i in batch.request_index.tolist()], batch


def ids(jagged: KeyedJaggedTensor | None, key: str, first: int, rows: int) -> Ids:
    """The ids of some rows of a key."""
    assert jagged is not None
    found = jagged[key]
    lists = torch.split(found.values(), found.lengths().tolist())
    return [x.tolist() for x in lists[first : first + rows]]


def of_items(log: PreparedDataset, batch: SearchBatch, feature: str) -> Ids:
    jagged = log.items.features[feature]
    lists = np.split(jagged.values, np.cumsum(jagged.lengths)[:-1])
    return [lists[i].tolist() for i in batch.item_index.tolist()]


def test_layout(log: PreparedDataset) -> None:
    layout = log.layout
    assert layout.request_slots == []
    assert [tuple(s) for s in layout.item_slots] == [("categories", "category", None, "categories", None)]
    assert [tuple(s) for s in layout.shared_slots] == [("word_0", "word", "query_words", "title", None)]
    assert [tuple(s) for s in layout.event_slots] == [
        ("item_0", "item", None, "item_id", "item"),
        ("query_0", "query", "query_id", None, "query"),
    ]
    assert layout.dense_width("request") == 4
    assert layout.dense_width("item") == 3
    assert layout.num_items == 12


def test_items_and_candidates(log: PreparedDataset) -> None:
    rows, batch = some(log)
    shown = [i for r in rows for i in r["candidates"]]
    assert batch.num_requests == 6
    assert batch.num_candidates == len(shown)
    assert batch.item_index.tolist() == sorted(set(shown))  # each once
    assert batch.item_index[batch.candidate_item].tolist() == shown
    assert batch.candidate_lengths.tolist() == [len(r["candidates"]) for r in rows]
    assert batch.candidate_request().tolist() == [n for n, r in enumerate(rows) for _ in r["candidates"]]


def test_ids_of_all_sections(log: PreparedDataset) -> None:
    rows, batch = some(log)
    n, size = 6, batch.num_items
    assert batch.request_ids is None
    assert ids(batch.item_ids, "categories", 0, size) == of_items(log, batch, "categories")
    assert ids(batch.shared_ids, "word_0", 0, n) == [r["feature.query_words"] for r in rows]
    assert ids(batch.shared_ids, "word_0", n, size) == of_items(log, batch, "title")
    # Unpooled tables: request rows, item rows, event rows.
    assert ids(batch.event_ids, "item_0", 0, n) == [[]] * n
    assert ids(batch.event_ids, "item_0", n, size) == of_items(log, batch, "item_id")
    row_of = [int(v) for v in log.items.features["item_id"].values]
    assert ids(batch.event_ids, "item_0", n + size, n) == [
        [row_of[i] for i in r["events.item"]] for r in rows
    ]
    assert ids(batch.event_ids, "query_0", 0, n) == [r["feature.query_id"] for r in rows]
    assert ids(batch.event_ids, "query_0", n, size) == [[]] * size
    assert ids(batch.event_ids, "query_0", n + size, n) == [r["events.query"] for r in rows]
    assert any(r["events.item"] for r in rows)


def test_tensors(log: PreparedDataset) -> None:
    rows, batch = some(log)

    def same(tensor: torch.Tensor, column: str, width: int) -> None:
        expected = torch.tensor([v for r in rows for v in r[column]], dtype=torch.float32).reshape(-1, width)
        assert torch.equal(tensor.reshape(-1, width).nan_to_num(-9), expected.nan_to_num(-9))

    same(batch.labels, "labels", 2)
    same(batch.weights, "weights", 1)
    same(batch.cross.rate, "cross.rate", 11)
    same(batch.cross.support, "cross.support", 11)
    same(batch.cross.number, "cross.number", 3)
    same(batch.cross.counts, "cross.counts", 6)
    same(batch.request_dense, "dense", 4)
    same(batch.event_age, "events.age", 1)
    assert batch.cross.support.shape == (6, 11)
    assert batch.event_lengths.tolist() == [len(r["events.item"]) for r in rows]
    assert batch.event_action.tolist() == [v for r in rows for v in r["events.action"]]
    assert torch.equal(batch.item_dense, torch.from_numpy(log.items.dense[batch.item_index.numpy()]))
    assert batch.sampling_log_q.tolist() == [0] * batch.num_candidates
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            whole = torch.bool if name == "fits_projection" else torch.int64
            assert value.dtype == (torch.float32 if value.is_floating_point() else whole), name
            assert value.is_contiguous(), name


def test_prepared_cross_features_are_those_that_are_looked_up(log: PreparedDataset) -> None:
    for part in SearchLoader(log, "train", LoaderSettings(prefetch=0)).requests():
        candidates = part.candidates()
        found = log.cross.look_up(part.keys(), candidates.items)
        assert np.array_equal(candidates.rate, found.rate)
        assert np.array_equal(part.matrix("cross.support", 11), found.support)
        assert np.array_equal(candidates.number, found.number)


def test_negatives_lie_behind_the_logged_candidates(log: PreparedDataset) -> None:
    rows, batch = some(log, negatives=5)
    assert (batch.candidate_lengths >= torch.tensor([len(r["candidates"]) for r in rows])).all()
    lists = torch.split(batch.item_index[batch.candidate_item], batch.candidate_lengths.tolist())
    for r, items in zip(rows, lists, strict=True):
        assert items[: len(r["candidates"])].tolist() == r["candidates"]
    assert batch.num_candidates > sum(len(r["candidates"]) for r in rows)
    drawn = batch.sampling_log_q < 0
    assert drawn.sum() == batch.num_candidates - sum(len(r["candidates"]) for r in rows)
    assert not batch.labels[drawn].any()


def parts(log: PreparedDataset) -> PreparedRequests:
    return next(
        SearchLoader(log, "train", LoaderSettings(batch_requests=7, prefetch=0), shuffle=False).requests()
    )


def test_request_batch_and_item_batch_together_are_the_batch(log: PreparedDataset) -> None:
    part = parts(log)
    whole = collate(part, part.candidates(), log.items)
    alone, items = request_batch(part), item_batch(log.items, whole.item_index.numpy(), log.layout)
    n, size = whole.num_requests, whole.num_items
    for name in (
        "request_dense",
        "event_lengths",
        "event_action",
        "event_age",
        "request_index",
    ):
        assert torch.equal(getattr(alone, name).nan_to_num(-9), getattr(whole, name).nan_to_num(-9))
    assert torch.equal(alone.cross.support, whole.cross.support)
    assert torch.equal(items.item_dense.nan_to_num(-9), whole.item_dense.nan_to_num(-9))
    assert alone.item_ids is None
    assert items.request_ids is None
    assert (alone.num_requests, alone.num_items, alone.num_candidates) == (n, 0, 0)
    assert (items.num_requests, items.num_items, items.num_candidates) == (0, size, 0)
    for key in ("item_0", "query_0"):
        requests_of = ids(whole.event_ids, key, 0, n) + ids(whole.event_ids, key, n + size, n)
        assert ids(alone.event_ids, key, 0, 2 * n) == requests_of
        assert ids(items.event_ids, key, 0, size) == ids(whole.event_ids, key, n, size)
    assert ids(alone.shared_ids, "word_0", 0, n) == ids(whole.shared_ids, "word_0", 0, n)
    assert ids(items.shared_ids, "word_0", 0, size) == ids(whole.shared_ids, "word_0", n, size)
    for half in (alone, items):
        assert half.labels.shape == (0, 2)
        assert half.cross.rate.shape == (0, 11)
        assert half.cross.number.shape == (0, 3)
        assert half.candidate_request().tolist() == []
        assert half.candidate_item.dtype == half.candidate_lengths.dtype == torch.int64


def test_several_features_of_one_shared_table(tmp_path_factory: pytest.TempPathFactory) -> None:
    wanted = schema(
        "features.request.2={name: second, kind: trigrams, column: query, table: word}",
        "features.item.3={name: brand, kind: id, column: brand, table: query}",
        "cross_features=[]",
        "exclude_repeats=false",
    )
    events = [event("r", "u", "red", "a", 0, click=1), event("s", "u", "red", "b", 5, click=1)]
    log = prepared(
        tmp_path_factory.mktemp("two"), events, [item("a", "hat"), item("b")], [user("u")], schema=wanted
    )
    assert [tuple(s) for s in log.layout.shared_slots] == [
        ("word_0", "word", "query_words", "title", None),
        ("word_1", "word", "second", None, None),
    ]
    assert [tuple(s) for s in log.layout.event_slots][1] == ("query_0", "query", "query_id", "brand", "query")
    part = parts(log)
    batch = collate(part, part.candidates(), log.items)
    assert batch.cross.rate.shape == (2, 0)
    assert batch.cross.support.shape == (2, 0)
    assert batch.cross.number.shape == (2, 0)
    rows = requests(log)
    assert ids(batch.shared_ids, "word_1", 0, 2) == [r["feature.second"] for r in rows]
    assert ids(batch.shared_ids, "word_1", 2, 2) == [[], []]
    assert ids(batch.event_ids, "query_0", 0, 6) == [[2], [2], [1], [1], [], [2]]  # acme, red


def test_take(log: PreparedDataset) -> None:
    part = parts(log)
    two = part.take(np.array([4, 1]))
    assert len(two) == 2
    assert two.index.tolist() == [4, 1]
    assert two.jagged("candidates").lengths.tolist() == part.jagged("candidates").lengths[[4, 1]].tolist()
