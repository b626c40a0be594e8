"""evaluate: against ranks found one request at a time, and whatever the blocks and ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactrank.cross_features.jagged import Jagged
from interactrank.data.errors import DatasetError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.evaluator import (
    evaluate,
    evaluate_many,
    head_index,
    request_slices,
    users,
)
from interactrank.evaluation.settings import EvaluationSettings
from tests.data import logs
from tests.ranks import run_ranks


class Fixed:
    """A scorer whose score is a fixed function of request and item; with many ties."""

    def __init__(self, log: PreparedDataset) -> None:
        self.num_items = len(log.items)
        self.requests: list[int] = []

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> torch.Tensor:
        self.requests += requests.index.tolist()
        every = np.array([[(r * 7 + i * 5) % 4 for i in range(self.num_items)] for r in requests.index])
        scores = torch.from_numpy(every.astype(np.float32))
        if candidates is None:
            return scores
        return scores[np.repeat(np.arange(len(requests)), candidates.lengths), candidates.values]


def one_by_one(log: PreparedDataset, split: str, head: int, catalogue: bool) -> list[int]:
    """Rank of the best relevant item of each request; 0 where there is none. Ties are pessimistic."""
    heads = len(log.schema.heads)
    found = []
    for r, row in enumerate(logs.requests(log, split)):
        labels = np.array(row["labels"]).reshape(-1, heads)[:, head]
        relevant = {i for i, label in zip(row["candidates"], labels, strict=True) if label > 0}
        pool = set(range(len(log.items))) if catalogue else set(row["candidates"])
        pool -= set(row["excluded"]) - relevant
        score = {i: (r * 7 + i * 5) % 4 for i in pool}
        ranks = [
            1 + sum(score[o] >= score[i] for o in pool - relevant)
            + sum(score[o] > score[i] for o in relevant - {i})
            for i in relevant
        ]  # fmt: skip
        found.append(min(ranks, default=0))
    return found


@pytest.mark.parametrize("candidates", ["logged", "catalogue"])
@pytest.mark.parametrize("head", [None, "like", "only_click"])
@pytest.mark.parametrize("block_scores", [1, 50, 100_000])
def test_ranks_are_those_found_one_request_at_a_time(
    log: PreparedDataset, candidates: str, head: str | None, block_scores: int
) -> None:
    settings = EvaluationSettings(candidates=candidates, head=head, ks=[1, 3], block_scores=block_scores)
    table = evaluate(Fixed(log), log, settings)
    position = 1 if head == "only_click" else 0
    expected = np.array(one_by_one(log, "test", position, candidates == "catalogue"), float)
    expected[expected == 0] = np.nan
    np.testing.assert_array_equal(table["rank_of_first_relevant"], expected)
    worst = table["hit@3_pessimistic"]
    np.testing.assert_array_equal(worst, np.where(np.isnan(expected), np.nan, expected <= 3))
    assert not (table["hit@3"] < worst).any()
    assert table["request_index"].tolist() == list(range(log.num_requests("test")))


@pytest.mark.parametrize("candidates", ["logged", "catalogue"])
def test_several_scorers_in_one_pass_find_what_each_finds_alone(
    log: PreparedDataset, candidates: str
) -> None:
    class Turned(Fixed):
        def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> torch.Tensor:
            return -super().__call__(requests, candidates)

    settings = EvaluationSettings(candidates=candidates, ks=[1, 3], block_scores=50)
    scorers = {"fixed": Fixed(log), "turned": Turned(log)}
    together = evaluate_many(scorers, log, settings)
    assert list(together) == ["fixed", "turned"]
    for name, scorer in scorers.items():
        alone = evaluate(scorer, log, settings)
        assert alone.keys() == together[name].keys()
        for column, values in alone.items():
            np.testing.assert_array_equal(together[name][column], values)
    assert (together["fixed"]["mrr"] != together["turned"]["mrr"]).any()


def test_repeats_are_left_out_only_where_the_schema_says_so(tmp_path: Path) -> None:
    """u saved a after "red"; when it searches "red" again, a is left out, unless it is chosen again."""
    items = [logs.item(n) for n in "abc"]
    first = [logs.event("r1", "u", "red", "a", 0, click=1)]
    again = [logs.event("r2", "u", "red", n, 1440, split="test", click=int(n == "b")) for n in "abc"]
    chosen = [logs.event("r3", "u", "red", n, 2880, split="test", click=int(n == "a")) for n in "ac"]
    for exclude, expected in ((True, [2, 2]), (False, [3, 3])):
        schema = logs.schema(f"exclude_repeats={exclude}")
        folder = tmp_path / str(exclude)
        log = logs.prepared(folder, [*first, *again, *chosen], items, [logs.user("u")], schema=schema)
        for candidates in ("logged", "catalogue"):
            table = evaluate(Same(), log, EvaluationSettings(candidates=candidates))
            # r2: b is relevant, c is not, a is a repeat. r3: a itself is relevant, b (only in the catalogue)
            # is a repeat by then.
            assert table["candidates"][0] == expected[0], (exclude, candidates)
            counts = {"logged": 2, "catalogue": expected[1]}
            assert table["candidates"][1] == counts[candidates], (exclude, candidates)


class Same:
    """Everything ties."""

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> torch.Tensor:
        if candidates is None:
            return torch.zeros(len(requests), len(requests.items))
        return torch.zeros(len(candidates.values))


def test_ties_are_the_worst_case(log: PreparedDataset) -> None:
    table = evaluate(Same(), log, EvaluationSettings(candidates="logged"))
    ranked = table["relevant"] > 0
    assert ranked.any()
    irrelevant = table["candidates"] - table["relevant"]
    np.testing.assert_array_equal(table["rank_of_first_relevant"][ranked], irrelevant[ranked] + 1)
    some = table["auc_pairs"] > 0
    assert (table["auc"][some] == 0.5).all()


@pytest.mark.parametrize("limit", [1000, 20, 10, 1])
@pytest.mark.parametrize("block_scores", [1, 100_000])
def test_a_limit_takes_requests_from_all_over_the_split(
    log: PreparedDataset, limit: int, block_scores: int
) -> None:
    settings = EvaluationSettings(candidates="catalogue", block_scores=block_scores)
    fixed = Fixed(log)
    settings = settings.model_copy(update={"split": "train"})
    found, total = evaluate(fixed, log, settings, limit=limit), log.num_requests("train")
    every = -(-total // limit)
    assert total // every <= len(found["mrr"]) <= limit + 2
    assert sorted(fixed.requests) == found["request_index"].tolist()
    assert found["request_index"][-1] >= total - every
    whole = evaluate(Fixed(log), log, settings)
    np.testing.assert_array_equal(
        found["rank_of_first_relevant"], whole["rank_of_first_relevant"][found["request_index"]]
    )


def test_what_cannot_be_evaluated_is_said(log: PreparedDataset, tmp_path: Path) -> None:
    events, items, people = logs.random_log(0, requests=4)
    train = [e | {"split": "train"} for e in events]
    empty = logs.prepared(tmp_path, train, items, people, schema=logs.schema())
    with pytest.raises(DatasetError, match="the log has no test requests to evaluate on"):
        evaluate(Same(), empty, EvaluationSettings())
    with pytest.raises(DatasetError, match="no head 'buy'; the schema has like, only_click"):
        head_index(log, EvaluationSettings(head="buy"))


def _evaluate(folder: Path, candidates: str) -> Any:
    log = PreparedDataset(folder)
    fixed = Fixed(log)
    settings = EvaluationSettings(candidates=candidates, block_scores=24)
    return evaluate(fixed, log, settings), fixed.requests


@pytest.mark.parametrize("candidates", ["logged", "catalogue"])
def test_two_ranks_find_what_one_process_finds(log: PreparedDataset, candidates: str) -> None:
    expected, every = _evaluate(log.folder, candidates)
    assert len(every) % 2 == 1
    ranks = run_ranks(2, _evaluate, log.folder, candidates)
    assert sorted(ranks[0][1] + ranks[1][1]) == every
    for table, _ in ranks:
        assert table.keys() == expected.keys()
        for name, column in expected.items():
            np.testing.assert_array_equal(table[name], column)


def test_slices_and_users_are_in_the_order_of_the_split(log: PreparedDataset) -> None:
    rows = logs.requests(log, "test")
    slices = request_slices(log, "test")
    assert set(slices) == {"query", "frequency", "history", "country"}
    seen = [slices["query"].names[i] for i in slices["query"].index]
    assert seen == ["seen" if row["train_frequency"] else "unseen" for row in rows]
    lengths = [len(row["events.item"]) for row in rows]
    assert [slices["history"].names[i] == "0" for i in slices["history"].index] == [n == 0 for n in lengths]
    countries = [slices["country"].names[i] for i in slices["country"].index]
    assert countries == [row["segment.country"] or "missing" for row in rows]
    who = users(log, "test")
    assert who is not None
    assert who.tolist() == [row["user"] for row in rows]


def test_a_log_without_users_has_none(tmp_path: Path) -> None:
    log = logs.prepared(
        tmp_path, [logs.event("r", "u", "red", "a", 0, click=1)], [logs.item("a")], schema=logs.minimal()
    )
    assert users(log, "train") is None
