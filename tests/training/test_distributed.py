import os

import pytest
import torch
import torch.distributed as dist

from interactrank.training.distributed import (
    RankError,
    current_world,
    gather,
    on_main,
    process_group,
    together,
)
from tests.distributed import RankFailure, run_ranks


def test_one_process_is_a_group_of_its_own() -> None:
    with process_group("cpu") as world:
        assert (world.rank, world.size, world.is_main, world.device) == (0, 1, True, torch.device("cpu"))
        assert gather("a") == ["a"]
        with process_group("cpu") as inner:  # an open group is used and left open
            assert inner == world
        assert dist.is_initialized()
    assert not dist.is_initialized()


def test_without_a_group_the_error_gives_the_remedy() -> None:
    with pytest.raises(RuntimeError, match=r"with interactrank\.training\.process_group"):
        current_world()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs GPU 0, but this machine shows 0"), process_group("cuda"):
        pass


def _fail_on(rank: int) -> str:
    try:
        with together("reading"):
            if dist.get_rank() == rank:
                raise ValueError("unreadable")
    except (ValueError, RankError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def test_an_error_of_one_rank_is_raised_on_all() -> None:
    assert run_ranks(2, _fail_on, 1) == [
        "RankError: rank 1 failed while reading: ValueError: unreadable",
        "ValueError: unreadable",
    ]


def _main_only() -> tuple[list[int], str]:
    pids = gather(on_main("asking", os.getpid))
    try:
        on_main("planning", lambda: 1 // 0)
    except ZeroDivisionError:
        return pids, "own"
    except RankError as error:
        return pids, str(error)
    return pids, "none"


def test_on_main_runs_on_rank_0_and_shares_result_and_error() -> None:
    (pids, first), (same_pids, second) = run_ranks(2, _main_only)
    assert len(set(pids)) == 1
    assert pids == same_pids
    assert first == "own"
    assert second.startswith("rank 0 failed while planning: ZeroDivisionError")


def _die_before_a_collective() -> None:
    if dist.get_rank() == 1:
        raise KeyError("rank 1's own error")
    dist.all_reduce(torch.zeros(1))


def test_a_rank_that_stops_ends_the_others() -> None:
    with pytest.raises(RankFailure) as failure:
        run_ranks(2, _die_before_a_collective)
    assert "rank 1's own error" in str(failure.value)
    assert "RankError: rank 0: another rank stopped; its own error says why" in str(failure.value)
