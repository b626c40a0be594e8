from __future__ import annotations

import numpy as np
import pytest

from benchmarks.projection import projected_table
from benchmarks.step_model import Measured, Step, gflop_of, step_of
from interactrank.sharding.planner.cluster import Cluster, Speeds
from interactrank.sharding.planner.report import PARTS, PlanReport


def test_the_dense_share_leaves_the_tables_out() -> None:
    # 30 GFLOP in 400 - 100 = 300 ms are 100 GFLOP/s, half of 200.
    assert Measured(requests=8, ms=400, tables_ms=100, gflop=30, items=9).dense_share(200) == pytest.approx(
        0.5
    )


def test_both_ends_of_a_step() -> None:
    step = Step(dense=10, tables=2, exchange=5, all_reduce=3)
    assert step.fastest == 2 + 10  # 5 + 3 hide behind 10
    assert Step(dense=10, tables=2, exchange=9, all_reduce=3).fastest == 2 + 12
    assert step.slowest(3) == 10 + 3 * 2 + 5 + 3
    assert step.slowest(0.5) == 10 + 2 + 5 + 3  # tables faster here than the planner has them: not counted on


@pytest.mark.parametrize(
    ("nodes", "per_node", "bandwidth"),
    [(1, 4, 8e9), (2, 2, 1e9)],  # within a machine, and between machines
)
def test_a_plan_becomes_the_step_of_its_busiest_rank(nodes: int, per_node: int, bandwidth: float) -> None:
    cluster = Cluster(
        nodes=nodes,
        ranks_per_node=per_node,
        device="cpu",
        ddr=1,
        speeds=Speeds(within=8e9, between=1e9),
    )
    assert PARTS == ("fwd_compute", "fwd_comms", "bwd_compute", "bwd_comms", "prefetch_compute")
    ms = np.array([[1.0, 1, 1, 1, 0], [2, 3, 4, 5, 6], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    zeros = np.zeros(4, np.int64)
    plan = PlanReport(cluster, [], zeros, zeros, ms, dense_bytes=4 * 10**9)
    step = step_of(plan, dense_ms=7)
    assert (step.dense, step.tables, step.exchange) == (7, 2 + 4 + 6, 3 + 5)
    # A ring over 4 ranks moves 2 * 3/4 of the 10^9 bytes of gradients.
    assert step.all_reduce == pytest.approx(1e3 * 1.5e9 / bandwidth)


def test_the_projection_is_counted_in_requests_a_second() -> None:
    steps = [(8, Step(10, 0, 0, 0)), (64, Step(10, 0, 10, 0))]
    table = projected_table("Projected", steps, slower=1.0, batch=100)
    fast, slow, slow_rate, fast_rate, efficiency = table["rows"][1][5:]
    assert (fast, slow) == (10, 20)
    assert (slow_rate, fast_rate) == (64 * 100 / 0.020, 64 * 100 / 0.010)
    assert efficiency == 0.5


def test_flops_are_those_of_requests_and_of_distinct_items() -> None:
    # 2 GFLOP a request and 3 an item: 2 * 1 + 3 * 5, 2 * 4 + 3 * 10, 2 * 9 + 3 * 12.
    found = [Measured(r, 1.0, 0.0, 2.0 * r + 3.0 * i, i) for r, i in ((1, 5), (4, 10), (9, 12))]
    assert gflop_of(found, requests=100, items=2500) == pytest.approx(2 * 100 + 3 * 2500)
