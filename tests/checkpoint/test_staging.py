"""Copies of a state: equal, apart from it, and in memory that is made ahead and kept."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed._shard.sharded_tensor import ShardedTensor

from interactrank.checkpoint import staging
from interactrank.checkpoint.staging import Staging
from interactrank.distributed.world import current_world
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.settings import TrainingSettings
from tests.ranks import run_ranks
from tests.toy import ToyModel


def state() -> dict[str, Any]:
    return {
        "a": torch.arange(6.0).view(2, 3),
        "rest": [torch.tensor(7), {"step": 3, "name": "x", "none": None}, torch.empty(0, 4)],
    }


def places(copied: dict[str, Any]) -> list[int]:
    return [copied["a"].data_ptr(), copied["rest"][0].data_ptr()]


def test_a_copy_is_equal_and_keeps_its_values_until_the_next() -> None:
    source, staging = state(), Staging()
    copied = staging.copy(source)
    source["a"].zero_()
    source["rest"][1]["step"] = 4
    assert torch.equal(copied["a"], torch.arange(6.0).view(2, 3))
    assert copied["rest"][0] == 7
    assert copied["rest"][0].shape == ()
    assert copied["rest"][1] == {"step": 3, "name": "x", "none": None}
    assert copied["rest"][2].shape == (0, 4)
    again = staging.copy(source)
    assert not again["a"].any()
    assert again["rest"][1]["step"] == 4
    assert places(again) == places(copied)  # the same memory


def test_large_tensors_and_those_that_are_no_block_are_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of 7 of 100 numbers; a transposed one, rows of a larger one, a single number."""
    monkeypatch.setattr(staging, "_PIECE", 7)
    whole = torch.arange(100.0).view(10, 10)
    source = {"whole": whole, "turned": whole.t(), "rows": whole[3:5], "one": whole[1, 2]}
    copied = Staging().copy(source)
    for name, value in source.items():
        assert torch.equal(copied[name], value), name
        assert copied[name].data_ptr() != value.data_ptr()


def test_allocated_memory_is_used_and_what_is_new_gets_its_own() -> None:
    source, staging = state(), Staging()
    staging.allocate(source)
    first = staging.copy(source)
    held = {path: value.data_ptr() for path, value in staging._held.items()}
    assert first["a"].data_ptr() == held["a",]
    source["b"], source["a"] = torch.ones(2), torch.ones(3, 3)
    copied = staging.copy(source)
    assert torch.equal(copied["b"], torch.ones(2))
    assert torch.equal(copied["a"], torch.ones(3, 3))
    assert copied["rest"][0].data_ptr() == held["rest", 0]


def test_a_copy_waits_for_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the zeros that touch it could be written over the copy."""
    go, like = threading.Event(), staging._like

    def late(value: Tensor) -> Tensor:
        assert go.wait(60)
        return like(value)

    monkeypatch.setattr(staging, "_like", late)
    source, of = state(), Staging()
    of.allocate(source)
    done: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: done.append(of.copy(source)))
    thread.start()
    thread.join(0.2)
    assert not done
    go.set()
    thread.join(60)
    assert torch.equal(done[0]["a"], source["a"])


def test_no_memory_is_an_error_of_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(value: Tensor) -> Tensor:
        raise MemoryError("no room")

    monkeypatch.setattr(staging, "_like", none)
    of = Staging()
    of.allocate(state())
    with pytest.raises(MemoryError, match="no room"):
        of.copy(state())


def _sharded() -> int:
    """A copy of tables of which each rank holds a part, or nothing; returns how many are sharded."""
    only = {"types": ["table_wise", "row_wise"]}
    asked = {"sharding": dict.fromkeys(("queries", "words", "products"), only)}
    world, settings = current_world(), TrainingSettings.model_validate(asked)
    model = ToyModel()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    staging, number = Staging(), 0
    for _ in range(2):
        copied = staging.copy(dmp.state_dict())
        for name, value in dmp.state_dict().items():
            theirs = copied[name]
            if isinstance(value, ShardedTensor):
                number += 1
                assert theirs.metadata() == value.metadata()
                for mine, other in zip(value.local_shards(), theirs.local_shards(), strict=True):
                    assert torch.equal(mine.tensor, other.tensor)
                    assert mine.metadata == other.metadata
                    assert mine.tensor.data_ptr() != other.tensor.data_ptr()
            else:
                assert torch.equal(value, theirs)
    return number


@pytest.mark.parametrize("ranks", [1, 2])
def test_sharded_tables(ranks: int) -> None:
    assert run_ranks(ranks, _sharded) == [6] * ranks


def _locked() -> tuple[bool, bool]:
    """What the metadata says of a copy whose pages are locked, and of one with an empty part, as of a GPU."""
    world, settings = current_world(), TrainingSettings()
    model = ToyModel()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    table = next(value for value in dmp.state_dict().values() if isinstance(value, ShardedTensor))
    locked: set[int] = set()

    def empty(value: Tensor, *, locked: bool, of: set[int] = locked) -> Tensor:
        memory = torch.empty(value.shape, dtype=value.dtype)
        of.update([memory.data_ptr()] if locked else [])
        return memory

    with pytest.MonkeyPatch.context() as patch:
        # A CPU cannot lock pages for a GPU that is not there.
        patch.setattr(Tensor, "is_cuda", True)
        patch.setattr(Tensor, "is_pinned", lambda self: self.data_ptr() in locked)
        patch.setattr(staging, "_empty", empty)
        whole = staging._like(table).metadata().tensor_properties.pin_memory
        patch.setattr(Tensor, "numel", lambda self: 0)
        return whole, staging._like(table).metadata().tensor_properties.pin_memory


def test_locked_pages_of_sharded_tables_are_in_their_metadata() -> None:
    """Torch refuses parts whose pages are locked if the metadata does not say so."""
    assert run_ranks(1, _locked) == [(True, False)]
