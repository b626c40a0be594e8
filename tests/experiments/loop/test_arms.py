"""The arms: what ranks in each, and who is in which."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.core.settings import ConfigError
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.columns import CANDIDATES, QUERY
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers.bm25 import Bm25Scorer
from interactrank.experiments.loop.arms import ARMS, Bm25Ranker, ModelRanker, arm_of_users, bm25_of
from interactrank.runs.datasets import prepare_dataset, simulate_log
from tests.experiments.loop.world import config


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    folder = Path(tmp_path_factory.mktemp("arms"))
    log = simulate_log(config(), folder / "log")
    prepare_dataset(config(), log, folder / "dataset")
    return PreparedDataset(folder / "dataset")


def test_bm25_ranks_as_in_evaluation(dataset: PreparedDataset) -> None:
    """The candidates of logged requests, by the arm and by the baseline of ``interactrank evaluate``."""
    table = pa.concat_tables(map(pq.read_table, dataset.files("test")))
    requests = PreparedRequests(table, np.arange(len(table)), dataset.layout, dataset.items)
    candidates = requests.positions(CANDIDATES)
    scores = Bm25Scorer(dataset)(requests, candidates).numpy()
    ends = np.cumsum(candidates.lengths)
    names = [dataset.items.ids[row] for row in candidates.values.tolist()]
    items = [names[end - n : end] for end, n in zip(ends, candidates.lengths, strict=True)]
    found = Bm25Ranker(dataset).best([{"query": q} for q in table[QUERY].to_pylist()], items, 10)
    assert len({len(of) for of in items}) > 1
    for of, best, own in zip(items, found, np.split(scores, ends[:-1]), strict=True):
        assert best == [of[n] for n in np.argsort(-own, kind="stable")[:10]]


def test_bm25_needs_its_cross_feature() -> None:
    schema = config().search
    assert bm25_of(schema).columns == ["title"]
    without = [f for f in schema.cross_features if f.kind != "bm25"]
    with pytest.raises(ConfigError, match="the arm BM25 needs a cross feature of kind bm25"):
        bm25_of(schema.model_copy(update={"cross_features": without}))


def test_users_stay_in_their_arm_and_arms_are_equally_large() -> None:
    users = np.arange(4000)
    first, again = (arm_of_users(users, 4, "a") for _ in range(2))
    assert (first == again).all()
    assert arm_of_users(users[::-1], 4, "a").tolist() == first[::-1].tolist()
    # 1,000 in each, deviation 27
    assert np.abs(np.bincount(first, minlength=4) - 1000).max() < 110
    other = arm_of_users(users, 4, "b")
    assert abs((first == other).mean() - 0.25) < 0.03  # another experiment splits independently


def test_arms_have_names_of_their_own() -> None:
    assert len({arm.name for arm in ARMS}) == len({arm.title for arm in ARMS}) == len(ARMS)
    assert not [arm for arm in ARMS if arm.trains and not arm.exports]  # it would be in vain
    assert not [arm for arm in ARMS if arm.live and (arm.shown or arm.model is None)]


def test_a_live_arm_records_each_request_before_the_next() -> None:
    calls: list[Any] = []

    class PreRanker:
        def rank_many(self, requests: Any, candidates: Any, k: int) -> list[Any]:
            calls.append(("rank", requests, candidates, k))
            return [SimpleNamespace(ids=candidates[0][:k])]

        def record(self, rows: Any) -> None:
            calls.append(("record", rows))

    ranker = ModelRanker(PreRanker())  # type: ignore[arg-type]
    found = ranker.best_live([{"q": 1}, {"q": 2}], [["a", "b"], ["c"]], 1, [[{"click": 1}], [{"click": 0}]])
    assert found == [["a"], ["c"]]
    assert calls == [
        ("rank", [{"q": 1}], [["a", "b"]], 1),
        ("record", [{"click": 1}]),
        ("rank", [{"q": 2}], [["c"]], 1),
        ("record", [{"click": 0}]),
    ]
