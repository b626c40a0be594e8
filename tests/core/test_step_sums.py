from __future__ import annotations

import pytest
import torch

from interactrank.core.step_sums import StepSums, step_sums


def test_each_gets_its_own_sums_back_in_the_order_of_adding() -> None:
    sums, found = StepSums(rank=0, ranks=2), {}
    sums.add(torch.tensor([1, 2]), lambda s: found.update(a=s.tolist()))
    sums.gather(torch.tensor([7.0]), lambda s: found.update(b=s.tolist()))
    values = sums.take()
    assert values is not None
    assert values.tolist() == [1, 2, 7, 0]
    sums.give(values + torch.tensor([10, 20, 0, 8]))  # what the other rank adds
    assert found == {"a": [11, 22], "b": [[7], [8]]}
    assert sums.take() is None


def test_what_is_added_while_sums_travel_waits_for_the_next_ones() -> None:
    sums, found = StepSums(rank=0, ranks=1), []
    sums.add(torch.ones(1), found.append)
    first = sums.take()
    sums.add(torch.full((1,), 5.0), found.append)
    assert first is not None
    sums.give(first)
    assert [f.item() for f in found] == [1.0]
    second = sums.take()
    assert second is not None
    assert second.tolist() == [5.0]


def test_modules_find_them_within_the_block_only() -> None:
    sums = StepSums(rank=0, ranks=1)
    assert step_sums() is None
    with sums.open():
        assert step_sums() is sums
    assert step_sums() is None


def _fail(sums: StepSums) -> None:
    with sums.open():
        raise KeyError


def test_a_step_that_fails_leaves_nothing_open() -> None:
    with pytest.raises(KeyError):
        _fail(StepSums(rank=0, ranks=1))
    assert step_sums() is None
