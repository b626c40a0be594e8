from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.training import TensorBatch
from interactrank.training.batch_protocol import count_samples, move_batch, named_tensors, sample_unit
from interactrank.training.monitor import batch_statistics
from tests.toy import toy_batch

# Samples 0, 1 and 2 have users 7; 8 and 9; none.
IDS = KeyedJaggedTensor(keys=["user"], values=torch.tensor([7, 8, 9]), lengths=torch.tensor([1, 2, 0]))
LABELS = torch.tensor([0.0, 1.0, 1.0])


class Named(NamedTuple):
    ids: KeyedJaggedTensor
    labels: Tensor


@dataclass
class Inner:
    labels: Tensor


@dataclass
class Outer:
    ids: KeyedJaggedTensor
    inner: Inner
    nothing: Tensor | None = None


BATCHES: list[Any] = [
    (IDS, LABELS),
    {"ids": IDS, "labels": LABELS},
    Named(IDS, LABELS),
    Outer(IDS, Inner(LABELS)),
]


@pytest.mark.parametrize("batch", BATCHES, ids=["tuple", "mapping", "named tuple", "dataclass"])
def test_batch__any_container_of_tensors_will_do(batch: Any) -> None:
    assert (count_samples(batch), sample_unit(batch)) == (3, "samples")
    assert [tensor.tolist() for _, tensor in named_tensors(batch)] == [[7, 8, 9], [0, 1, 1]]
    assert [line.strip().split(" [3]: ")[1] for line in batch_statistics(batch).splitlines()] == [
        *("7 to 9", "0 to 1, 0 NaN, 0 infinite")
    ]
    moved = move_batch(batch, torch.device("meta"))
    assert type(moved) is type(batch)
    assert {tensor.device.type for _, tensor in named_tensors(moved)} == {"meta"}


def test_batch__names_lead_to_the_tensor() -> None:
    assert [name for name, _ in named_tensors(Outer(IDS, Inner(LABELS)))] == ["ids.user", "inner.labels"]
    assert [name for name, _ in named_tensors((IDS, {"labels": LABELS}))] == ["0.user", "1.labels"]
    assert [name for name, _ in named_tensors(IDS)] == ["user"]


def test_batch__without_a_tensor_has_no_samples() -> None:
    assert count_samples({"step": 3}) == 0


def test_batch__of_search_counts_requests() -> None:
    batch = toy_batch(0, requests=5)
    assert (count_samples(batch), sample_unit(batch)) == (5, "requests")


@dataclass
class Clicks(TensorBatch):
    ids: KeyedJaggedTensor
    inner: Inner
    weights: Tensor | None = None


def test_tensor_batch__copies_every_tensor_and_leaves_the_original() -> None:
    batch = Clicks(IDS, Inner(LABELS))
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, Clicks)
    assert {tensor.device.type for _, tensor in named_tensors(moved)} == {"meta"}
    assert batch.inner.labels is LABELS
    assert moved.weights is None
