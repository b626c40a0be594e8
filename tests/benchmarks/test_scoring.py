from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import report, scoring
from benchmarks.harness import main
from benchmarks.scoring import EarlyInteraction, check, makers, wrong
from benchmarks.scoring_data import Engine, Request, engine
from benchmarks.scoring_limits import limits_table
from benchmarks.scoring_tables import flops, flops_table
from interactrank.core.extras import MissingExtraError

SIZE, KEEP = 200, 50
OPTIONS = argparse.Namespace(device="cpu", threads=1, smoke=True)


@pytest.fixture(scope="module")
def of() -> Engine:
    return Engine(1_000, torch.device("cpu"))


@pytest.fixture(scope="module")
def requests(of: Engine) -> list[Request]:
    return of.requests(SIZE)[:3]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def test_a_request_has_distinct_candidates_with_and_without_history(
    of: Engine, requests: list[Request]
) -> None:
    for request in requests:
        assert len(np.unique(request.candidates.values)) == SIZE
        assert torch.equal(request.compact, of.items[request.rows])
        rate, support, *_ = of.features.look_up(request.keys, request.candidates)
        assert (rate[:, 0] > 0).sum() >= SIZE // 2 > 0
        assert (rate == 0).all(1).sum() > 0
        assert (support > 0).all()


def test_all_that_are_exact_keep_the_best_rows(of: Engine, requests: list[Request]) -> None:
    runs = {name: make(of, KEEP) for name, make in makers(OPTIONS, requests, SIZE).items()}
    assert set(runs) == {
        *("matmul_topk", "gather_matmul_topk", "two_tower", "pre_ranker_dot", "pre_ranker_history"),
        *("eager_dot", "eager_history", "faiss_flat", "usearch_exact"),
        *("early_interaction", "lightgbm_predict", "index_select"),
    }
    for request in requests:
        check(of, request, KEEP, runs)
        kept = {name: set(run(request).tolist()) for name, run in runs.items()}
        early, history = kept.pop("early_interaction"), kept.pop("pre_ranker_history")
        del kept["lightgbm_predict"], kept["index_select"]
        assert kept.pop("eager_history") == history
        assert len(set(map(frozenset, kept.values()))) == 1  # no ties among random vectors
        assert history != kept["pre_ranker_dot"]
        assert len(early) == KEEP


def test_another_answer_is_refused(of: Engine, requests: list[Request]) -> None:
    request = requests[0]
    lowest = {"lowest": lambda r: r.rows[(r.compact @ r.vector[0, 0]).argsort()[:KEEP]].numpy()}
    with pytest.raises(RuntimeError, match="lowest at 200 candidates: kept a score of"):
        check(of, request, KEEP, lowest)
    scores = np.arange(SIZE, dtype=np.float64)
    best = request.candidates.values[-KEEP:]
    assert wrong(best, request, scores, KEEP, 1e-5) is None
    assert "are distinct" in str(wrong(best[[0] * KEEP], request, scores, KEEP, 1e-5))
    assert "are needed" in str(wrong(best[1:], request, scores, KEEP, 1e-5))
    scores[-KEEP - 1] = scores[-KEEP]  # a tie at the last place: either row is right
    other = request.candidates.values[[-KEEP - 1, *range(-KEEP + 1, 0)]]
    assert wrong(other, request, scores, KEEP, 1e-5) is None
    scores[-KEEP - 1] -= 1e-4
    assert "kept a score" in str(wrong(other, request, scores, KEEP, 1e-5))


def test_a_peer_that_is_not_installed_is_named(
    of: Engine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    make = makers(OPTIONS, requests, SIZE)["faiss_flat"]
    with pytest.raises(MissingExtraError, match=r"'faiss'.* 'interactrank\[bench\]"):
        make(of, KEEP)


def test_limits_are_those_of_what_was_measured() -> None:
    rows = [
        {"group": "catalogue_100000", "contestant": name, "cpu_runtime_p50_ms": ms}
        for name, ms in (("matmul_topk", 2.0), ("pre_ranker_history", 3.1), ("pre_ranker_history_int8", 2.9))
    ]
    rows.append({"group": "request", "contestant": "query_side", "cpu_runtime_p50_ms": 1.9})
    for name, ms in (("pre_ranker_dot", 0.6), ("index_select", 0.3), ("faiss_flat", 0.5)):
        rows.append({"group": "candidates_10", "contestant": name, "cpu_runtime_p50_ms": ms})
    found = {row[0]: row[1:] for row in limits_table({"results": rows}, 0.991)["rows"]}
    assert found == {
        "all of 100,000 items / bare product and top k": [1.55, "at most 1.5", "no"],
        "int8 / float32, all of 100,000 items": [2.9 / 3.1, "at most 1", "yes"],
        "query side of the demo's request, ms": [1.9, "at most 2 ms", "yes"],
        "candidates_10: dot products / index_select and faiss_flat": [0.6 / 0.8, "at most 1", "yes"],
        "share of float32's best that int8 keeps": [0.991, "at least 0.995", "no"],
    }


def test_flops_are_those_of_the_matrix_products() -> None:
    a, b = torch.zeros(3, 4), torch.zeros(4, 5)
    assert flops(lambda: a @ b) == 2 * 3 * 4 * 5
    table = flops_table(1_000, 16, EarlyInteraction)
    (ours, two_tower, _, early) = table["rows"]
    # A candidate has 3 dot products of 64, 8 weights of cross features, and 8 flags of those that are absent.
    query = ours[1] * 1e9 - 1_000 * 2 * (3 * 64 + 8 + 8)
    assert query == pytest.approx(two_tower[1] * 1e9 - 1_000 * 2 * 64 + 2 * 256 * 2 * 64)  # two heads more
    assert early[3] == 1
    assert ours[3] == pytest.approx(early[1] / ours[1])


@pytest.mark.slow
def test_a_result_is_written(tmp_path: Path) -> None:
    path = main(scoring.SCRIPT, ["--smoke", "--threads", "1", "--device", "cpu", "--output", str(tmp_path)])
    engine.cache_clear()
    result = json.loads(path.read_text())
    assert report.problems(result) == []
    gathered = [row for row in result["results"] if row["group"].startswith("candidates_")]
    assert {row["candidates"] for row in gathered} == set(scoring.TINY)
    limits, bandwidth, parts, of_flops, growth = result["tables"]
    assert {row[3] for row in limits["rows"]} <= {"yes", "no"}
    assert any(
        row[0] == "candidates_160: dot products / index_select and faiss_flat" for row in limits["rows"]
    )
    # Nine that rank by vectors of candidates, one that only gathers them, and four of the catalogue.
    assert [len(table["rows"]) for table in (bandwidth, parts, of_flops)] == [3 * (9 + 1) + 4, 4, 4]
    assert growth["title"] == "Growth with candidates"
    assert sum(row[2] for row in parts["rows"]) == pytest.approx(100, abs=0.1)
