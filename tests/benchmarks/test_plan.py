from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plan, report
from benchmarks.harness import main
from benchmarks.plan import SCRIPT, Case, make_case, planners


def test_a_thousand_gpus_hold_ten_terabytes() -> None:
    """Of 5 tables the largest has 1 / (1 + 1/2 + 1/3 + 1/4 + 1/5) = 60 / 137 of the rows."""
    case = Case(5, 1024)
    assert case.bytes == pytest.approx(10e12, rel=1e-9)
    sizes = [config.num_embeddings for config in case.model["bags"].embedding_bag_configs()]
    assert sizes[0] / sum(sizes) == pytest.approx(60 / 137)
    assert sizes[0] / sizes[4] == pytest.approx(5)
    assert (case.cluster.ranks, case.cluster.nodes) == (1024, 128)
    assert Case(5, 8).bytes == pytest.approx(10e12 / 128, rel=1e-6)
    with pytest.raises(ValueError, match="12 GPUs are not machines of 8"):
        Case(5, 12)


@pytest.mark.parametrize("planner", list(plan.PLANNERS))
def test_a_plan_is_complete_and_counts_the_optimizers_state(planner: str) -> None:
    case = make_case(planner, 8, 16)
    placement = plan.PLANNERS[planner](case)
    rows = {config.name: config.num_embeddings for config in case.model["bags"].embedding_bag_configs()}
    placed = {o.name: sum(shard.size[0] * shard.size[1] for shard in o.shards) for o in placement}
    assert placed == {name: number * plan.DIM for name, number in rows.items()}
    costs = case.report(placement).tables
    assert sum(cost.weight_bytes for cost in costs) == case.bytes
    assert sum(cost.state_bytes for cost in costs) >= 4 * sum(rows.values())
    for cost in costs:
        assert cost.hbm_bytes >= cost.weight_bytes + cost.state_bytes


def test_torchrecs_planner_is_tried_where_it_ends_soon() -> None:
    assert planners(45, 16) == planners(5, 256) == ["torchrec", "ours"]
    assert planners(45, 64) == planners(5, 1024) == planners(150, 8) == ["ours"]


@pytest.mark.slow
def test_the_result_tells_time_and_quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "peak_mb", lambda planner, tables, ranks: (300.0, 300.0 + ranks))
    given = ["--smoke", "--only", "tables_8_", "--threads", "1", "--device", "cpu", "--output", str(tmp_path)]
    result: dict[str, Any] = json.loads(main(SCRIPT, given).read_text())
    assert report.problems(result) == []
    assert [row["short_name"] for row in result["results"]] == [
        f"tables_8_ranks_{ranks}/{planner}" for ranks in (8, 16) for planner in ("torchrec", "ours")
    ]
    quality, memory, growth = result["tables"]
    assert [row[:2] + row[3:4] for row in quality["rows"]] == [
        [8, ranks, planner] for ranks in (8, 16) for planner in ("torchrec", "ours")
    ]
    assert growth["title"] == "Growth with ranks"
    for row in quality["rows"]:
        step, balance = row[5:7]
        assert step > 0
        assert 0 < balance <= 1
    # The most ranks of each planner.
    assert memory["rows"] == [[8, 16, planner, 300, 316, 16] for planner in ("torchrec", "ours")]
