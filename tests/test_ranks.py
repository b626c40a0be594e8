"""The helper of the distributed tests itself: an error, a death and a hang must each end a test."""

import os
import time

import pytest
import torch.distributed as dist

from tests.ranks import RankFailure, run_ranks


def _rank(add: int) -> int:
    return dist.get_rank() + add


def _trouble() -> None:
    if dist.get_rank() == 1:
        os._exit(7)
    time.sleep(600)


def test_results_come_in_the_order_of_the_ranks() -> None:
    assert run_ranks(2, _rank, 10) == [10, 11]


@pytest.mark.slow
def test_a_death_and_a_hang_end_the_test() -> None:
    run_ranks(2, _rank, 0)  # starts the processes, so that the limit below is that of the call alone
    with pytest.raises(RankFailure) as failure:
        run_ranks(2, _trouble, timeout_s=5)
    assert "rank 0\nhung: not done after 5 s" in str(failure.value)
    assert "rank 1\ndied with exit code 7" in str(failure.value)
