"""The comparison of models: what is measured, and the lines below the table."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.comparison import compare
from interactrank.evaluation.ranking import request_metrics
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
    assert "share of the optimum, hit@3: interactrank 100.0%, bm25 0.0%\n" in text
    assert "share of the optimum, mrr: interactrank 50.0%, bm25 25.0%\n" in text
    assert "interactrank - bm25: hit@3 +1.000 (+1.000 to +1.000), hit@10 +0.000" in text


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
