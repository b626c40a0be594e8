import datetime
import os
import time

import pytest
import torch
import torch.distributed as dist

from interactrank.distributed.collectives import all_gather_objects, raise_on_all_ranks, run_on_rank0
from interactrank.distributed.errors import ProcessGroupError, RankError
from interactrank.distributed.failures import explain_gloo_error, silent_ranks
from interactrank.distributed.rendezvous import rendezvous_arguments
from interactrank.distributed.world import current_world, process_group
from tests.ranks import RankFailure, run_ranks


def test_one_process_is_a_group_of_its_own() -> None:
    with process_group("cpu") as world:
        assert (world.rank, world.size, world.is_main, world.device) == (0, 1, True, torch.device("cpu"))
        assert all_gather_objects("a") == ["a"]
        with process_group("cpu") as inner:  # an open group is used and left open
            assert inner == world
        assert dist.is_initialized()
    assert not dist.is_initialized()


def test_without_a_group_the_error_gives_the_remedy() -> None:
    with pytest.raises(RuntimeError, match=r"with interactrank\.distributed\.process_group"):
        current_world()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(ProcessGroupError, match=r"needs GPU 0, but this node shows 0"), process_group("cuda"):
        pass


RESTARTED = {
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_MAX_RESTARTS": "2",
    "TORCHELASTIC_RESTART_COUNT": "1",
    "MASTER_ADDR": "localhost",
    "RANK": "0",
    "WORLD_SIZE": "1",
}


def test_ranks_that_torchrun_restarts_do_not_meet_their_predecessors(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    for key, value in (RESTARTED | {"MASTER_PORT": str(agent.port)}).items():
        monkeypatch.setenv(key, value)
    timeout = datetime.timedelta(seconds=10)
    first = rendezvous_arguments(timeout)
    assert (first["rank"], first["world_size"]) == (0, 1)
    first["store"].set("address", "of the first start")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert not rendezvous_arguments(timeout)["store"].check(["address"])
    with process_group("cpu") as world:
        assert world.size == 1
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    with (
        pytest.raises(ProcessGroupError, match="set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"),
        process_group("cpu"),
    ):
        pass
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")  # what that variable leads to
    assert rendezvous_arguments(timeout) == {}


def _silent(late: int) -> list[int]:
    return [] if dist.get_rank() == late else silent_ranks(patience_s=0.5)


def test_ranks_that_say_nothing_are_found() -> None:
    assert run_ranks(2, _silent, 1) == [[1], []]


def _waiting() -> str:
    """Rank 1 does not come to the second collective."""
    group = dist.new_group(timeout=datetime.timedelta(seconds=2))
    dist.barrier(group)
    if dist.get_rank() == 1:
        time.sleep(8)
        return "slow"
    try:
        dist.all_reduce(torch.zeros(1), group=group)
    except RuntimeError as error:
        return str(explain_gloo_error(error, 2))
    return "no error"


@pytest.mark.slow
def test_a_timeout_names_the_rank_that_hangs() -> None:
    first, second = run_ranks(2, _waiting)
    assert first.startswith("rank 1 did not respond within 2 s (hung or slow)")
    assert second == "slow"


def test_errors_about_something_else_stay_what_they_are() -> None:
    assert explain_gloo_error(RuntimeError("shapes do not match"), 2) is None
    assert explain_gloo_error(RankError("rank 1 failed: Timed out waiting"), 2) is None


def _fail_on(rank: int) -> str:
    try:
        with raise_on_all_ranks("reading"):
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
    pids = all_gather_objects(run_on_rank0("asking", os.getpid))
    try:
        run_on_rank0("planning", lambda: 1 // 0)
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
