"""Counts of two ranks against those worked out by hand."""

from __future__ import annotations

import torch
import torch.distributed as dist

from interactrank.modules import SampledSoftmax, Temperature
from interactrank.modules.losses import RankCounts, gather_rows_with, global_mean
from tests.ranks import run_ranks


def _counts() -> tuple[list[float], float, list[int], float]:
    rank = dist.get_rank()
    counts = RankCounts(
        {"positives": torch.tensor([1.0 + rank, 0.0]), "rows": torch.tensor(3.0)}, rows=5 + rank
    )
    mean = global_mean(torch.tensor([[6.0, 6.0]]), mean_count=counts["positives"])
    return counts["positives"].tolist(), counts["rows"].item(), counts.sizes, mean.tolist()


def test_means_over_ranks_and_the_rows_of_each() -> None:
    # (1 + 2) / 2 positives of the first head; none of the second, whose losses then stay as they are.
    assert run_ranks(2, _counts) == [([1.5, 0.0], 3.0, [5, 6], [4.0, 6.0])] * 2


def test_one_process_needs_no_group() -> None:
    counts = RankCounts({}, rows=4)
    assert counts.sizes == [4]


def _gather() -> tuple[list[list[float]], list[int], list[float]]:
    rank = dist.get_rank()
    rows, ids = torch.full((2 - rank, 2), 1.0 + rank), torch.tensor([2**62 + 1, -7][rank:])
    found, (all_ids, q) = gather_rows_with(rows, [ids, torch.full((2 - rank,), 0.5)], [2, 1])
    return found.tolist(), all_ids.tolist(), q.tolist()


def test_ids_keep_every_bit_on_their_way_with_the_rows() -> None:
    expected = ([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]], [2**62 + 1, -7, -7], [0.5, 0.5, 0.5])
    assert run_ranks(2, _gather) == [expected] * 2


def _softmax() -> tuple[float, float]:
    rank = dist.get_rank()
    torch.manual_seed(rank)
    loss = SampledSoftmax(temperature=Temperature(learned=False))
    query, item = torch.randn(2, 1, 4), torch.randn(3 + rank, 4)
    arguments = (query, item, torch.arange(3 + rank), torch.tensor([0, 1]), torch.tensor([1, 2]))
    asked = loss(*arguments, torch.ones(2, 1)).sum()
    known = loss(*arguments, torch.ones(2, 1), counts=RankCounts({}, rows=3 + rank)).sum()
    return asked.item(), known.item()


def test_the_softmax_is_the_same_whether_it_asks_for_sizes_or_knows_them() -> None:
    for asked, known in run_ranks(2, _softmax):
        assert asked == known
