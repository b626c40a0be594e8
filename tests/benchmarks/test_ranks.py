from __future__ import annotations

import argparse

import pytest
import torch

from benchmarks import ranks, report
from benchmarks.ranks import OVERLAPPED, SHAPES, TINY, batches, group, prepare, tables
from benchmarks.workers import STEPS
from interactrank.distributed.world import process_group


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """(rows, loss) of every forward."""
    steps: list[tuple[int, float]] = []
    original = ranks.Model.forward

    def forward(self: ranks.Model, batch: ranks.Batch) -> object:
        loss, outputs = original(self, batch)
        steps.append((batch.num_samples, float(loss.detach())))
        return loss, outputs

    monkeypatch.setattr(ranks.Model, "forward", forward)
    return steps


@pytest.mark.parametrize("name", list(TINY))
def test_a_step_trains(name: str, seen: list[tuple[int, float]]) -> None:
    with process_group("cpu"):
        prepare({"whole": (16, "plain"), "half": (8, "plain")}, TINY[name])
        assert set(STEPS) == {"whole", "half"}
        for _ in range(2 * ranks.WORK):
            STEPS["whole"]()
        STEPS["half"]()
    STEPS.clear()
    steps = TINY[name].steps
    assert [size for size, _ in seen] == [16] * 2 * ranks.WORK * steps + [8] * steps
    first, last = seen[0][1], seen[len(seen) - steps - ranks.WORK][1]  # the same batch, some passes later
    assert last < first


def test_ranks_have_batches_of_their_own() -> None:
    one, two = batches(TINY["dense_heavy"], 16, 0), batches(TINY["dense_heavy"], 16, 1)
    assert len(one) == ranks.WORK
    assert not torch.equal(one[0].ids.values(), two[0].ids.values())
    assert not torch.equal(one[0].ids.values(), one[1].ids.values())


def test_wall_time_decides() -> None:
    shape = SHAPES["dense_heavy"]
    of = group("dense_heavy", shape, None, None, None)  # type: ignore[arg-type]
    assert [c.target for c in of.contestants] == [None, None, 1.6, 1.6, None]
    assert [c.work for c in of.contestants] == [n * shape.batch * shape.steps for n in (1, 2, 2, 2, 1)]
    row = {"target": 1.6, "ratio_p50": 1.5, "cpu_time_ratio_p50": 1.9}
    one_thread = {"hardware": {"threads": 1}}
    assert report.verdict(one_thread, row) == "reached"
    assert report.verdict(one_thread, row | of.settings) == "missed"


def test_two_ranks_are_set_against_two_jobs_alone() -> None:
    speeds = {"one_rank": 100.0, "two_alone": 160.0, "two_ranks": 120.0, OVERLAPPED: 140.0}
    rows = [{"group": "g", "contestant": name, "qps_p50": speed} for name, speed in speeds.items()]
    (table,) = tables(argparse.Namespace(), {"results": rows})
    assert table["rows"] == [["g", 1.6, 1.2, 1.4, 0.75, 0.875]]


def test_overlapped_ranks_train_on_the_same_batches() -> None:
    losses: list[float] = []
    for kind in ("plain", "sparse_dist"):
        torch.manual_seed(0)
        with process_group("cpu"):
            pipeline = ranks.trainer(TINY["dense_heavy"], kind)  # type: ignore[arg-type]
            fresh = ranks.endless(TINY["dense_heavy"], 16, 0)
            for _ in range(5):
                losses.append(float(pipeline.progress(fresh).loss))
    assert len(set(losses[:5])) == 5
    assert losses[:5] == pytest.approx(losses[5:], rel=1e-5)
