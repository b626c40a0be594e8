"""The frontier: what is counted and timed, and the table that comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import frontier
from benchmarks.candidate_cost import Cost, candidates_of, measure, operations, sample_requests
from benchmarks.frontier import COLUMNS, frontier_table
from benchmarks.operations import operations_of
from interactrank.cross_features.jagged import Jagged
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from tests.models import search


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return search.prepared(tmp_path_factory.mktemp("log"))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda x: x @ x.t(), 2 * 3 * 4 * 3),
        (lambda x: torch.nn.functional.linear(x, torch.ones(5, 4), torch.ones(5)), 2 * 3 * 4 * 5),
        (lambda x: (x * x).sum(-1), 12 + 12),
        (lambda x: x.exp() > 1, 12 + 12),
        (lambda x: torch.softmax(x, -1), 5 * 12),
        (lambda x: x[torch.tensor([0, 2])].clone().view(-1), 0),
        (lambda x: torch.nn.functional.layer_norm(x, (4,)), 5 * 12),
    ],
)
def test_operations__by_hand(run: Any, expected: int) -> None:
    x = torch.rand(3, 4)
    assert operations_of(lambda: run(x)) == expected


class Scorer:
    """Two multiplications and an addition for each candidate, and a product a request."""

    def __init__(self) -> None:
        self.model = torch.nn.Identity()
        self.seen: list[int] = []

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        assert candidates is not None
        self.seen.append(len(candidates.values))
        torch.ones(7, 7) @ torch.ones(7, 7)
        values = torch.from_numpy(candidates.values.astype(np.float32))
        return values * 2 * 3 + 1


class Trees(Scorer):
    """A scorer that works outside of PyTorch and knows what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.operations_per_candidate = 640


def test_operations__are_those_of_one_more_candidate(log: PreparedDataset) -> None:
    (request,) = sample_requests(log, "test", 1, 0)
    random = np.random.default_rng(0)
    few, many = candidates_of(request, 4, random), candidates_of(request, 12, random)
    assert operations(Scorer(), request, many, few) == 3
    assert operations(Trees(), request, many, few) == 640
    assert operations(lambda requests, candidates: torch.zeros(1), request, many, few) is None


def test_candidates_of__are_the_logged_ones_and_others_once_each(log: PreparedDataset) -> None:
    requests = sample_requests(log, "test", 5, 0)
    assert [len(r) for r in requests] == [1] * 5
    assert len({int(r.index[0]) for r in requests}) == 5
    logged = np.unique(requests[0].positions("candidates").values)
    found = candidates_of(requests[0], len(log.items), np.random.default_rng(0))
    assert found.values[: len(logged)].tolist() == logged.tolist()
    assert sorted(found.values.tolist()) == list(range(len(log.items)))
    assert found.lengths.tolist() == [len(log.items)]


def test_measure__times_every_scorer_on_every_request(log: PreparedDataset) -> None:
    scorers = {"one": Scorer(), "other": Trees()}
    costs = measure(scorers, sample_requests(log, "test", 3, 0), 10, repeats=2)
    assert list(costs) == ["one", "other"]
    for cost in costs.values():
        assert len(cost.cold) == len(cost.warm) == len(cost.few) == 3
        assert all(0 < warm <= cold for warm, cold in zip(cost.warm, cost.cold, strict=True))
    assert costs["other"].operations == 640
    assert scorers["one"].seen[:4] == [10, 10, 1, 1]


def test_frontier_table__by_hand() -> None:
    """Ten candidates: 1 us each in all, .2 of it look-up; nine more cost 4.5 us."""
    cost = Cost(cold=[1e-5, 1e-5, 2e-5], warm=[8e-6, 8e-6, 1.8e-5], few=[3.5e-6, 3.5e-6, 1.35e-5])
    cost.looks_up, cost.operations = True, 99.0
    dear = Cost(cold=[1e-4] * 3, warm=[1e-4] * 3, few=[1e-5] * 3)
    quality = {
        "bm25": {"value": 0.5, "low": 0.4, "high": 0.6}, "two_tower": {"value": 0.5, "low": 0.4, "high": 0.6},
    }  # fmt: skip
    table = frontier_table({"two_tower": dear, "bm25": cost}, quality, 10, "log: MRR", "note")
    first, second = (dict(zip(COLUMNS, row, strict=True)) for row in table["rows"])
    assert (first["model"], second["model"]) == ("BM25", "two-tower")
    assert first["us a candidate p50"] == pytest.approx(1.0)
    assert first["p90"] == pytest.approx(1.8)
    assert first["look-up"] == pytest.approx(0.2)
    assert first["one more"] == pytest.approx(0.5)
    assert first["us a request"] == pytest.approx(3.0)
    assert first["operations"] == 99
    assert second["look-up"] is None
    assert (first["on the frontier"], second["on the frontier"]) == ("yes", "")


def test_a_smoke_run_writes_result_page_and_picture(tmp_path: Path) -> None:
    path = frontier.main(["--smoke", "--output", str(tmp_path), "--name", "tiny"])
    result = json.loads(path.read_text())
    assert result["benchmark"] == "frontier_tiny"
    (table,) = result["tables"]
    operations = {row[0]: row[COLUMNS.index("operations")] for row in table["rows"]}
    assert operations.keys() == {
        *("InteractRank", "two-tower", "BM25", "early interaction", "late interaction"),
    }
    assert operations["two-tower"] < operations["InteractRank"] < operations["late interaction"]
    assert operations["late interaction"] < operations["early interaction"]
    assert path.with_suffix(".md").exists()
    assert path.with_suffix(".png").stat().st_size > 10_000
