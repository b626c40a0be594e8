from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from benchmarks import workers
from benchmarks.harness import Samples
from benchmarks.workers import STEPS, JobRanks, Workers, slowest, take_turns
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def two() -> Iterator[Workers]:
    with Workers(2) as ranks:
        yield ranks


def total(value: int) -> tuple[int, int, int]:
    x = torch.tensor(value + dist.get_rank())
    dist.all_reduce(x)
    return dist.get_rank(), int(x), torch.get_num_threads()


def fail_on(rank: int) -> None:
    if dist.get_rank() == rank:
        raise ValueError("no such luck")
    dist.barrier()


def leave() -> None:
    os._exit(3)


def count(names: str) -> None:
    for name in names:
        STEPS[name] = itertools.count().__next__


def counted(name: str) -> object:
    return STEPS[name]()


@pytest.mark.slow
def test_all_ranks_are_called_with_one_thread_and_keep_what_they_built(two: Workers) -> None:
    assert two.call(total, 5) == [(0, 11, 1), (1, 11, 1)]  # 5 + 6
    two.call(count, "ab")
    found = take_turns({"a": two, "b": two}, rounds=3, warmup=2)
    assert [len(found[name].wall) for name in "ab"] == [3, 3]
    assert min(found["a"].wall) > 0
    assert two.call(counted, "a") == [5, 5]  # 2 to warm up and 3 rounds before this one


@pytest.mark.slow
def test_an_error_names_the_rank_though_the_other_one_waits() -> None:
    with pytest.raises(RuntimeError, match=r"rank 1 failed:\n(?s:.*)no such luck"), Workers(2) as ranks:
        ranks.call(fail_on, 1)


@pytest.mark.slow
def test_a_rank_that_dies_is_named() -> None:
    with pytest.raises(RuntimeError, match="rank 0 died"), Workers(1) as ranks:
        ranks.call(leave)


def test_steps_take_turns_and_the_slowest_rank_counts() -> None:
    calls: list[str] = []

    class Recorded:
        def call(self, function: object, name: str) -> list[tuple[float, float]]:
            assert function is workers.sample
            calls.append(name)
            return [(1.0, 0.5), (3.0, 0.25)]

    ranks = Recorded()
    found = take_turns({"a": ranks, "b": ranks}, rounds=2, warmup=1)  # type: ignore[dict-item]
    assert "".join(calls) == "ba" + "ab" + "ba"
    assert found["a"] == Samples(wall=[3.0, 3.0], cpu=[0.5, 0.5])


def test_of_each_round_the_slowest_rank_counts() -> None:
    ranks = [{"a": Samples([1.0, 4.0], [0.5, 0.5])}, {"a": Samples([2.0, 3.0], [0.25, 0.75])}]
    assert slowest(ranks) == {"a": Samples([2.0, 4.0], [0.5, 0.75])}


def lead_or_serve() -> list[object]:
    job = JobRanks()
    if dist.get_rank():
        job.serve()
        return [len(STEPS)]
    job.call(count, "a")
    found = take_turns({"a": job}, rounds=3, warmup=1)
    totals = job.call(total, 5)
    job.end()
    return [len(found["a"].wall), [x for _, x, _ in totals], [rank for rank, _, _ in totals]]


@pytest.mark.slow
def test_rank_0_of_a_job_calls_and_the_others_serve() -> None:
    lead, served = run_ranks(2, lead_or_serve)
    assert lead == [3, [11, 11], [0, 1]]  # 5 + 6 on both
    assert served == [1]


@pytest.mark.slow
def test_jobs_apart_have_one_rank_each() -> None:
    with Workers(2, apart=True) as ranks:
        assert ranks.call(total, 5) == [(0, 5, 1), (0, 5, 1)]
