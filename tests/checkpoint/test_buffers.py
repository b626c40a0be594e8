from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from interactrank.checkpoint.buffers import buffers_of_ranks, copy_buffers
from interactrank.distributed.world import process_group
from tests.ranks import run_ranks


class Counters(nn.Module):
    def __init__(self, own: float) -> None:
        super().__init__()
        self.register_buffer("shared", torch.ones(2))
        self.register_buffer("own", torch.full((2,), own))
        self.register_buffer("passing", torch.full((1,), own), persistent=False)
        self.weight = nn.Parameter(torch.full((1,), own))


def _own() -> tuple[list[str], list[str], list[float]]:
    rank = dist.get_rank()
    model = Counters(float(rank))
    values, names = buffers_of_ranks(model)
    target = Counters(9.0)
    wanted = copy_buffers(target, names)
    assert wanted.keys() == values.keys()
    assert float(wanted[f"own_{rank}"][0]) == 9.0
    copy_buffers(target, names, values)
    return names, sorted(values), [float(target.own[0]), float(target.shared[0])]


def test_only_buffers_that_differ_are_a_rank_s_own() -> None:
    # Neither parameters, which DDP keeps equal, nor buffers that are never saved.
    assert run_ranks(2, _own) == [
        (["own"], ["own_0"], [0.0, 1.0]),
        (["own"], ["own_1"], [1.0, 1.0]),
    ]


def test_a_single_rank_has_none() -> None:
    with process_group("cpu"):
        assert buffers_of_ranks(Counters(1.0)) == ({}, [])
