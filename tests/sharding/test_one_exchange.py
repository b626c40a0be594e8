"""Tensors that travel together arrive as they would have apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torchrec.distributed import dist_data

from interactrank.sharding.one_exchange import one_exchange
from interactrank.training.messages import counted_messages
from tests.ranks import run_ranks

# Numbers that rank r sends to rank s, of three tensors; one of them has none at all.
SPLITS = [[[2, 1], [3, 0]], [[0, 4], [1, 1]], [[0, 0], [0, 0]]]


def _exchange(dtype: torch.dtype) -> tuple[list[list[float]], dict[str, float]]:
    rank, outputs, works = dist.get_rank(), [], []

    def send(n: int, splits: list[list[int]]) -> Tensor:
        given = torch.arange(sum(splits[rank])).to(dtype) + 100 * rank + 10 * n
        output = torch.full((sum(of[rank] for of in splits),), -1, dtype=dtype)
        received = [of[rank] for of in splits]
        works.append(dist_data.dist.all_to_all_single(output, given, received, splits[rank], async_op=True))
        return output

    with counted_messages() as messages:
        with one_exchange():
            outputs = [send(n, splits) for n, splits in enumerate(SPLITS)]
        for work in (*works, works[0]):
            work.wait()
    return [output.tolist() for output in outputs], messages


@pytest.mark.parametrize(("dtype", "messages"), [(torch.int64, 1), (torch.float32, 3)])
def test_ids_arrive_in_one_message_and_anything_else_in_its_own(dtype: torch.dtype, messages: int) -> None:
    (first, sent), (second, _) = run_ranks(2, _exchange, dtype)
    assert first == [[0, 1, 100, 101, 102], [110], []]
    assert second == [[2], [10, 11, 12, 13, 111], []]
    assert sent["messages/all_to_all"] == messages


def test_torchrec_has_its_own_again_after_an_error() -> None:
    def fail() -> Any:
        with one_exchange():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert dist_data.dist is dist
