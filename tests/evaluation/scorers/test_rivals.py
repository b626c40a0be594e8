"""The rules and the trees that a user would pick otherwise, on logs small enough to rank by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from interactrank.core.extras import MissingExtraError
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers import BASELINES, CtrScorer, LambdaMartScorer, TouchedScorer
from interactrank.evaluation.scorers.ctr import best_strength
from interactrank.evaluation.scorers.lambdamart import _training
from interactrank.evaluation.settings import EvaluationSettings, LambdaMartSettings
from interactrank.schema import SearchSchema
from tests.data.logs import event, item, minimal, prepared
from tests.models.search import requests

RULES = (
    "events.request=request_id",
    "events.user=user_id",
    "events.split=split",
    "events.impressions=true",
    "cross_features=[{kind: iqp, key: all, engagement: click, statistic: rate}, {kind: touch}]",
)


def log(folder: Path, *overrides: str) -> PreparedDataset:
    """u clicks a at minute 0 and b at minute 10; v clicks c of a and c at minute 20; u asks at minute 60."""
    events = [
        event("r1", "u", "q", "a", 0, click=1),
        event("r1", "u", "q", "b", 0),
        event("r2", "u", "q", "b", 10, click=1),
        event("r2", "u", "q", "c", 10),
        event("r3", "v", "q", "c", 20, click=1),
        event("r3", "v", "q", "a", 20),
        *(event("r4", "u", "q", i, 60, split="test", click=int(i == "d")) for i in "abcd"),
    ]
    return prepared(folder, events, [item(i) for i in "abcd"], schema=minimal(*(overrides or RULES)))


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return log(tmp_path_factory.mktemp("rules"))


def test_ctr_by_hand(rules: PreparedDataset) -> None:
    """Before r4: a 1 of 2, b 1 of 2, c 1 of 2, d 0 of 0."""
    scorer = CtrScorer(rules)
    s, m = scorer.strength, scorer.mean
    assert m == pytest.approx(0.5)  # 3 clicks of 6 training candidates
    chosen = requests(rules, "test")
    seen, new = (1 + s * m) / (2 + s), m
    assert scorer.rates(chosen, chosen.positions("candidates")).tolist() == pytest.approx([seen] * 3 + [new])
    torch.testing.assert_close(scorer(chosen, None)[0], scorer(chosen, chosen.positions("candidates")))


def test_few_impressions_are_believed_if_they_tell() -> None:
    random = np.random.default_rng(0)
    shown = np.full(4000, 20.0)
    truth = np.repeat([0.1, 0.6], 2000)
    engaged = random.binomial(20, truth).astype(float)
    different, _ = best_strength(engaged, shown, random.random(4000) < truth)
    alike, _ = best_strength(random.binomial(20, 0.3, 4000).astype(float), shown, random.random(4000) < 0.3)
    assert different <= 10
    assert alike == 300  # what differs between items is chance alone


def test_touched_ranks_the_last_touch_first(rules: PreparedDataset) -> None:
    """u touched b 50 minutes before and a 60; c and d follow by their rate."""
    chosen = requests(rules, "test")
    scores = TouchedScorer(rules)(chosen, chosen.positions("candidates"))
    assert torch.argsort(scores, descending=True).tolist()[:2] == [1, 0]
    assert scores[1].item() == pytest.approx(100 - np.log(51), abs=1e-3)
    assert scores[2] < 1
    assert scores[3] < 1


def test_touched_without_impressions(tmp_path: Path) -> None:
    changed = ("events.impressions=false", "cross_features=[{kind: touch}]")
    dataset = log(tmp_path, *RULES[:3], *changed)
    chosen = requests(dataset, "test")
    assert torch.argsort(TouchedScorer(dataset)(chosen, None)[0], descending=True).tolist()[:2] == [1, 0]


@pytest.mark.parametrize(
    ("scorer", "name", "message"),
    [
        (CtrScorer, "ctr", "ctr needs a cross feature of kind iqp with key all"),
        (TouchedScorer, "touched", "touched needs a cross feature of kind touch"),
    ],
)
def test_a_schema_without_what_a_rule_needs(scorer, name: str, message: str, tmp_path: Path) -> None:
    plain = minimal(*RULES[:4])
    assert [message in problem for problem in BASELINES[name].problems(plain)] == [True]
    assert BASELINES[name].problems(minimal(*RULES)) == []
    with pytest.raises(DatasetError, match=name):
        scorer(log(tmp_path, *RULES[:4]))


# LambdaMART.


def planted(folder: Path, *overrides: str, shown: int = 6) -> PreparedDataset:
    """The cheapest of the shown items is clicked; 120 requests, the last 20 are the test."""
    random = np.random.default_rng(0)
    prices = random.permutation(30).astype(float)
    events = []
    for n in range(120):
        chosen = random.choice(30, shown, replace=False)
        best = chosen[np.argmin(prices[chosen])]
        split = "test" if n >= 100 else "train"
        events += [
            event(f"r{n:03d}", "u", "q", f"i{i}", n, split=split, click=int(i == best)) for i in chosen
        ]
    wanted = minimal(
        "events.request=request_id",
        "events.split=split",
        "events.impressions=true",
        "features.item=[{name: price, kind: number, column: price}]",
        "tables={}",
        *overrides,
    )
    return prepared(folder, events, [item(f"i{i}", price=p) for i, p in enumerate(prices)], schema=wanted)


SMALL = LambdaMartSettings(trees=60, min_candidates=5, leaves=7)


def test_trees_learn_a_planted_rule_and_do_so_again(tmp_path: Path) -> None:
    dataset = planted(tmp_path)
    chosen = requests(dataset, "test")
    logged = chosen.positions("candidates")
    scorer = LambdaMartScorer(dataset, 0, SMALL, block=7)
    scores = scorer(chosen, logged)
    labels = torch.from_numpy(chosen.candidates().labels[:, 0])
    best = [
        s.argmax().item() == y.argmax().item() for s, y in zip(scores.split(6), labels.split(6), strict=True)
    ]
    assert np.mean(best) >= 0.8
    assert torch.equal(LambdaMartScorer(dataset, 0, SMALL)(chosen, logged), scores)
    request = np.repeat(np.arange(len(chosen)), logged.lengths)
    assert torch.equal(scorer(chosen, None)[request, logged.values.astype(np.int64)], scores)
    assert scorer.operations_per_candidate > 0


def test_a_log_of_positives_gets_drawn_negatives(tmp_path: Path) -> None:
    dataset = planted(tmp_path, "events.impressions=false")
    scorer = LambdaMartScorer(dataset, 0, SMALL)
    assert scorer(requests(dataset, "test"), None).shape == (20, 30)


def test_no_request_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no training request with a positive and another candidate"):
        LambdaMartScorer(planted(tmp_path, shown=1), 0, SMALL)


def test_lightgbm_is_an_extra(rules: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'interactrank\[lightgbm\]'"):
        BASELINES["lambdamart"].factory(rules, EvaluationSettings())


def test_settings_reach_the_trees(rules: PreparedDataset) -> None:
    schema: SearchSchema = rules.schema
    assert BASELINES["lambdamart"].problems(schema) == []
    settings = EvaluationSettings(lambdamart=LambdaMartSettings(trees=3, min_candidates=1, leaves=2))
    scorer = BASELINES["lambdamart"].factory(rules, settings)
    assert isinstance(scorer, LambdaMartScorer)
    assert scorer.trees <= 3


def test_lambdamart__no_order_of_the_rows_tells_what_was_engaged_with(tmp_path: Path) -> None:
    """LightGBM counts equal scores in the order of their rows: it must be a matter of chance."""
    log = planted(tmp_path)
    orders = []
    for seed in (0, 1):
        _, labels, sizes, _ = _training(log, 0, LambdaMartSettings(seed=seed))
        requests = np.split(labels, np.cumsum(sizes)[:-1])
        orders.append([r.tolist() for r in requests])
        places = [r.argmax() for r in requests]
        assert 1.5 < np.mean(places) < 3.5  # of 0..5
    assert orders[0] != orders[1]
    assert [sorted(r) for r in orders[0]] == [sorted(r) for r in orders[1]]
