"""SearchBatch: sizes, copies and what a pipeline asks of it. Contents: tests/data/loading/test_collate.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from interactrank.batch import CrossFeatureTensors, SearchBatch
from interactrank.batch.layout import BatchLayout
from interactrank.schema import SearchSchema
from tests.data.logs import schema


def make() -> SearchBatch:
    """Two requests of three and no candidates, two items."""

    def ids(key: str, values: list[int], lengths: list[int]) -> KeyedJaggedTensor:
        return KeyedJaggedTensor(keys=[key], values=torch.tensor(values), lengths=torch.tensor(lengths))

    return SearchBatch(
        request_index=torch.tensor([5, 6]),
        item_index=torch.tensor([1, 8]),
        candidate_lengths=torch.tensor([3, 0]),
        candidate_item=torch.tensor([0, 1, 0]),
        request_ids=ids("query", [1, 2, 3], [2, 1]),
        item_ids=ids("item", [4, 5], [1, 1]),
        shared_ids=None,
        event_ids=None,
        request_dense=torch.zeros(2, 1),
        item_dense=torch.zeros(2, 0),
        event_lengths=torch.tensor([0, 0]),
        event_action=torch.empty(0, dtype=torch.int64),
        event_age=torch.empty(0),
        cross=CrossFeatureTensors.zeros(requests=2, candidates=3, rates=1),
        labels=torch.zeros(3, 1),
        weights=torch.ones(3),
        sampling_log_q=torch.zeros(3),
    )


def test_sizes() -> None:
    batch = make()
    assert (batch.num_requests, batch.num_items, batch.num_candidates) == (2, 2, 3)
    assert batch.candidate_request().tolist() == [0, 0, 0]


def test_it_is_pipelineable() -> None:
    assert isinstance(make(), Pipelineable)


def test_to_another_device_takes_everything() -> None:
    moved = make().to(torch.device("meta"), non_blocking=True)
    for f in fields(SearchBatch):
        value = getattr(moved, f.name)
        if value is not None:
            value = value.rate if isinstance(value, CrossFeatureTensors) else value
            device = value.device() if isinstance(value, KeyedJaggedTensor) else value.device
            assert device.type == "meta", f.name
    assert moved.shared_ids is None
    assert moved.num_candidates == 3


def test_to_the_same_device_keeps_the_values() -> None:
    batch, again = make(), make().to(torch.device("cpu"))
    assert again is not batch
    assert torch.equal(again.candidate_item, batch.candidate_item)
    assert again.request_ids is not None
    assert again.request_ids.keys() == ["query"]
    assert again.request_ids.values().tolist() == [1, 2, 3]


def called(monkeypatch: pytest.MonkeyPatch, name: str, result: Callable[[object], object]) -> list[object]:
    """Objects whose method ``name`` is called, on tensors and KeyedJaggedTensors."""
    seen: list[object] = []
    for kind in (torch.Tensor, KeyedJaggedTensor):

        def method(self: object, *args: object) -> object:
            seen.append(self)
            return result(self)

        monkeypatch.setattr(kind, name, method)
    return seen


@pytest.mark.parametrize("name", ["record_stream", "pin_memory"])
def test_every_tensor_is_recorded_and_pinned(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    batch = make()
    seen = called(monkeypatch, name, lambda value: value)
    if name == "pin_memory":
        pinned = batch.pin_memory()
        assert pinned.weights is batch.weights
    else:
        batch.record_stream(None)  # type: ignore[arg-type]
    present = [getattr(batch, f.name) for f in fields(SearchBatch) if getattr(batch, f.name) is not None]
    at = present.index(batch.cross)
    present[at : at + 1] = [getattr(batch.cross, name) for name in ("rate", "support", "number", "counts")]
    assert [id(v) for v in seen] == [id(v) for v in present]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    pinned = make().pin_memory()
    assert pinned.weights.is_pinned()
    moved = pinned.to(torch.device("cuda"), non_blocking=True)
    moved.record_stream(torch.cuda.current_stream())
    assert moved.item_ids is not None
    assert moved.item_ids.values().is_cuda
    assert moved.candidate_request().tolist() == [0, 0, 0]


def layout(wanted: SearchSchema) -> BatchLayout:
    return BatchLayout(wanted, dict.fromkeys(wanted.tables, 10), 12)


def test_layout_without_a_sequence_pools_all_tables() -> None:
    found = layout(schema("sequence=null", "cross_features=[]"))
    assert found.event_slots == []
    assert [s.key for s in found.request_slots] == ["query_id"]
    assert [s.key for s in found.item_slots] == ["item_id", "categories"]
    assert [tuple(s) for s in found.shared_slots] == [("word_0", "word", "query_words", "title", None)]


def test_every_feature_has_exactly_one_slot() -> None:
    found = layout(schema())
    slots = [*found.request_slots, *found.item_slots, *found.shared_slots, *found.event_slots]
    names = [n for s in slots for n in (s.request, s.item) if n]
    sparse = [f.name for f in [*found.sparse("request"), *found.sparse("item")]]
    assert sorted(names) == sorted(sparse)
    assert len({s.key for s in slots}) == len(slots)
    of_table: dict[str, set[int]] = {}
    for n, collection in enumerate(
        (found.request_slots, found.item_slots, found.shared_slots, found.event_slots)
    ):
        for s in collection:
            of_table.setdefault(s.table, set()).add(n)
    assert all(len(c) == 1 for c in of_table.values())  # a table lives in one collection


def test_columns_of_dense_features() -> None:
    found = layout(schema())
    assert [f.name for f in found.numbers("request")] == ["hour", "age"]
    assert [f.name for f in found.vectors("request")] == ["query_vector"]
    assert found.dense_width("request") == 2 + 2
    assert found.dense_width("item") == 1 + 2
