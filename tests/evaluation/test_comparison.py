"""The comparison of models: what is measured, and the lines below the table."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.comparison import compare
from interactrank.evaluation.metric_frame import hide_meaningless
from interactrank.evaluation.metrics import request_metrics
from interactrank.evaluation.predictions import Predictions
from interactrank.evaluation.ranks import RelevantRanks
from interactrank.evaluation.settings import EvaluationSettings
from tests.data import logs

QUICK = EvaluationSettings(resamples=200, ks=[3, 10])


def table(log: PreparedDataset, rank: int) -> dict[str, Any]:
    """Every request of the test split has 20 candidates and its relevant one at ``rank``."""
    n = log.num_requests("test")
    ranks = RelevantRanks.from_pairs(candidates=[20] * n, request=np.arange(n), rank=[rank] * n)
    return {"request_index": np.arange(n), **request_metrics(ranks, ks=QUICK.ks)}


def shown(comparison: Any) -> str:
    out = io.StringIO()
    comparison.show(Console(file=out, width=200))
    return out.getvalue()


def test_one_line_a_baseline_and_shares_of_the_optimum(log: PreparedDataset) -> None:
    tables = {"interactrank": table(log, 2), "bm25": table(log, 4)}
    comparison = compare(tables, log, QUICK, optimum=table(log, 1))
    assert comparison.headline == ["hit@3", "hit@10", "mrr", "ndcg@10", "auc"]
    # mrr 1/2 and 1/4 of an optimum of 1; hit@3 1 and 0; auc 18/19 and 16/19 irrelevant ones behind.
    assert comparison.share_of_optimum()["interactrank"]["mrr"] == 0.5
    assert comparison.share_of_optimum()["bm25"] == pytest.approx(
        {"hit@3": 0, "hit@10": 1, "mrr": 0.25, "ndcg@10": 1 / np.log2(5), "auc": 16 / 19}
    )
    text = shown(comparison)
    assert "share of the optimum, HIT@3: interactrank 100.0%, bm25 0.0%\n" in text
    assert "share of the optimum, MRR: interactrank 50.0%, bm25 25.0%\n" in text
    assert "interactrank - bm25: HIT@3 +1.000 (+1.000 to +1.000), HIT@10 +0.000" in text


def test_without_an_optimum_nothing_is_said_about_it(log: PreparedDataset) -> None:
    comparison = compare({"bm25": table(log, 4)}, log, QUICK)
    assert comparison.optimum == {}
    assert comparison.share_of_optimum() == {}
    assert comparison.paired == {}
    assert "optimum" not in shown(comparison)


def test_seen_and_unseen_queries_apart(log: PreparedDataset) -> None:
    comparison = compare({"bm25": table(log, 4)}, log, QUICK)
    unseen = sum(row["train_frequency"] == 0 for row in logs.requests(log, "test"))
    by_query = comparison.slices["bm25"]["query"]
    assert by_query["unseen"].requests == unseen
    assert by_query["seen"].requests == log.num_requests("test") - unseen
    assert ("bm25 (unseen)" in shown(comparison)) == (unseen > 0)


def test_every_user_counts_once(log: PreparedDataset) -> None:
    who = [row["user"] for row in logs.requests(log, "test")]
    first = table(log, 1)
    first["mrr"] = np.array([1.0 if user == who[0] else 0.0 for user in who])
    comparison = compare({"bm25": first}, log, QUICK.model_copy(update={"by_user": True}))
    assert comparison.per_user["bm25"]["mrr"].value == pytest.approx(1 / len(set(who)))
    assert comparison.models["bm25"]["mrr"].value == pytest.approx(who.count(who[0]) / len(who))
    assert "every user counts once" in shown(comparison)


def test_nothing_to_compare(log: PreparedDataset) -> None:
    with pytest.raises(ValueError, match="no model to compare; evaluate at least one"):
        compare({}, log, QUICK)


def test_ties__are_said_where_they_matter_and_written_beside_the_value(
    log: PreparedDataset, tmp_path: Path
) -> None:
    n = log.num_requests("test")
    # Tied with 3 irrelevant ones in places 1 to 4: MRR (1 + 1/2 + 1/3 + 1/4) / 4 = 0.521 instead of 1/4.
    ranks = RelevantRanks.from_pairs(candidates=[20] * n, request=np.arange(n), rank=[4] * n, tied=[3] * n)
    cold = {"request_index": np.arange(n), **request_metrics(ranks, ks=QUICK.ks)}
    comparison = compare({"interactrank": table(log, 1), "cold": cold}, log, QUICK)
    text = shown(comparison)
    assert (
        "cold gives candidates equal scores; they count as if in random order. With relevant ones last: "
        "HIT@3 0.000 instead of 0.750, MRR 0.250 instead of 0.521" in text
    )
    assert "interactrank gives" not in text
    models = comparison.write(tmp_path)["models"]
    assert models["cold"]["mrr"]["value"] == pytest.approx(25 / 48)
    assert models["cold"]["mrr"]["pessimistic"] == 0.25
    assert models["interactrank"]["map"]["pessimistic"] == models["interactrank"]["map"]["value"]
    assert "pessimistic" not in models["cold"]["auc"]


def test_nothing_to_rank__is_said_above_and_written_as_null(log: PreparedDataset, tmp_path: Path) -> None:
    n = log.num_requests("test")
    ranks = RelevantRanks.from_pairs(candidates=[1] * n, request=np.arange(n), rank=[1] * n)
    frame = hide_meaningless({"request_index": np.arange(n), **request_metrics(ranks, ks=QUICK.ks)})
    comparison = compare({"bm25": frame, "counts": frame}, log, QUICK)
    text = shown(comparison)
    assert text.startswith("no test request has both a positive of head like and another candidate")
    assert "1.000" not in text
    content = comparison.write(tmp_path)
    assert content["models"]["bm25"]["mrr"] == {
        "value": None, "low": None, "high": None, "requests": 0, "pessimistic": None,
    }  # fmt: skip
    assert content["data"]["note"].startswith("no test request has both")
    assert comparison.plot(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_probabilities__are_a_table_of_their_own(log: PreparedDataset, tmp_path: Path) -> None:
    n = log.num_requests("test")
    request = np.repeat(np.arange(n), 2)
    predictions = {"bm25": Predictions(request, np.full(2 * n, 0.5), np.tile([True, False], n))}
    comparison = compare({"bm25": table(log, 2)}, log, QUICK, predictions=predictions)
    text = shown(comparison)
    assert "predicted probabilities" in text
    assert "PR-AUC" in text
    written = comparison.write(tmp_path)["probabilities"]["bm25"]
    values = {name: of["value"] for name, of in written.items()}
    assert values == pytest.approx({"ne": 1, "calibration": 1, "pr_auc": 0.5})
    assert "predicted" not in shown(compare({"bm25": table(log, 2)}, log, QUICK))
