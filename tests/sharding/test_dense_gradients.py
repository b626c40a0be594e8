"""Averages of two ranks by hand, and as DistributedDataParallel makes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from interactrank.sharding.dense_gradients import DenseGradients
from interactrank.training.messages import counted_messages
from tests.ranks import run_ranks


class Net(nn.Module):
    """Three layers, the last of them used where the batch says so."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor, whole: bool = True) -> Tensor:
        x = self.second(self.first(x).relu())
        return self.last(x).square().mean() if whole else x.square().mean()


def _batch(step: int) -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(10 * step + dist.get_rank()))


def _gradients(net: nn.Module) -> dict[str, Any]:
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


def _as_ddp(bucket_bytes: int) -> list[tuple[dict[str, Tensor], dict[str, Tensor], dict[str, float]]]:
    mine, theirs, found = Net(), Net(), []
    DenseGradients(dict(mine.named_parameters()), None, bucket_bytes=bucket_bytes)
    parallel = nn.parallel.DistributedDataParallel(theirs)
    for step in range(3):
        for net in (mine, theirs):
            net.zero_grad(set_to_none=step != 1)
        with counted_messages() as messages:
            mine(_batch(step)).backward()
        parallel(_batch(step)).backward()
        found.append((_gradients(mine), _gradients(theirs), messages))
    return found


@pytest.mark.parametrize(("bucket_bytes", "messages"), [(10**6, 1), (100, 2)])
def test_gradients_are_those_of_distributed_data_parallel(bucket_bytes: int, messages: int) -> None:
    # The layers have 40, 27 and 4 numbers. With 100 bytes the last two share a message.
    for rank in run_ranks(2, _as_ddp, bucket_bytes):
        for mine, theirs, counted in rank:
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
            assert counted["messages/all_reduce"] == messages
    # One number for each parameter says whether it has a gradient.
    sent = sum(of["messages/all_reduce_bytes"] for _, _, of in rank) / 3
    assert sent == 4 * (71 + 6)


def _unused() -> tuple[dict[str, Any], dict[str, Any]]:
    net = Net()
    DenseGradients(dict(net.named_parameters()), None, unused_parameters=True)
    net(_batch(0), whole=dist.get_rank() == 1).backward()
    one_rank = _gradients(net)
    net.zero_grad()
    net(_batch(1), whole=False).backward()
    return one_rank, _gradients(net)


def test_what_one_rank_leaves_out_counts_as_zero_and_what_all_leave_out_as_none() -> None:
    (of_0, none_0), (of_1, none_1) = run_ranks(2, _unused)
    torch.testing.assert_close(of_0, of_1)
    torch.manual_seed(0)
    net = Net()
    batch = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))  # that of rank 1
    net(batch).backward()
    torch.testing.assert_close(of_0["last.weight"], net.last.weight.grad / 2)
    for of in (none_0, none_1):
        assert of["last.weight"] is None
        assert of["last.bias"] is None
        assert of["first.weight"] is not None


def _missing() -> str:
    net = Net()
    DenseGradients(dict(net.named_parameters()), None)
    with pytest.raises(ValueError, match="without a gradient") as error:
        net(_batch(0), whole=False).backward()
    return str(error.value)


def test_a_parameter_without_a_gradient_is_named() -> None:
    for text in run_ranks(2, _missing):
        assert "without a gradient: last.bias, last.weight. Take them out of the model" in text


def _carried(dtype: torch.dtype, count: int) -> list[float]:
    net, found = Net().to(dtype), []
    gradients = DenseGradients(dict(net.named_parameters()), None)
    for step in range(2):
        gradients.sums.add(torch.full((count,), 1.0 + dist.get_rank()), lambda s: found.extend(s.tolist()))
        net(_batch(step).to(dtype)).backward()
    return found


@pytest.mark.parametrize(("dtype", "count"), [(torch.float32, 2), (torch.float32, 700), (torch.bfloat16, 2)])
def test_sums_travel_with_the_gradients(dtype: torch.dtype, count: int) -> None:
    assert run_ranks(2, _carried, dtype, count) == [[3.0] * (2 * count)] * 2
