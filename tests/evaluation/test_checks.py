"""What an evaluation can say is known before the training: positives, and something to rank them against."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.checks import check_evaluable, describe_meaningless
from interactrank.evaluation.evaluator import evaluate
from interactrank.evaluation.scorers import Bm25Scorer
from interactrank.evaluation.settings import EvaluationSettings
from tests.data import logs

LOGGED, CATALOGUE = EvaluationSettings(), EvaluationSettings(candidates="catalogue")


def dataset(folder: Path, clicks: list[list[int]]) -> PreparedDataset:
    """Test requests with those clicks on their candidates a, b, ..., after one request of training."""
    events = [logs.event("r0", "u", "red", "a", 0, click=1), logs.event("r0", "u", "red", "b", 0)]
    for n, labels in enumerate(clicks, start=1):
        events += [
            logs.event(f"r{n}", "u", "red", name, 60 * n, split="test", click=label)
            for name, label in zip("abc", labels, strict=False)
        ]
    return logs.prepared(
        folder, events, [logs.item(n) for n in "abc"], [logs.user("u")], schema=logs.schema()
    )


def both(log: PreparedDataset, settings: EvaluationSettings) -> tuple[str | None, str | None, Any]:
    """The message before the training, the one of the evaluation, and its frame."""
    frame = evaluate(Bm25Scorer(log), log, settings)
    head = log.schema.head_names[0]
    return check_evaluable(log, settings), describe_meaningless(frame, "test", head), frame


def test_evaluable__a_positive_and_another_candidate(tmp_path: Path) -> None:
    before, after, frame = both(dataset(tmp_path, [[1, 0], [0, 0]]), LOGGED)
    assert (before, after) == (None, None)
    assert not np.isnan(frame["mrr"][0])


def test_evaluable__no_positive(tmp_path: Path) -> None:
    before, after, frame = both(dataset(tmp_path, [[0, 0], [0, 0, 0]]), LOGGED)
    assert before == after == "no test request has a positive of head like: there is nothing to rank"
    assert np.isnan(frame["mrr"]).all()


def test_evaluable__positives_alone_are_perfect_in_any_order(tmp_path: Path) -> None:
    log = dataset(tmp_path, [[1, 1], [1, 1, 1]])
    before, after, frame = both(log, LOGGED)
    assert before == after
    assert before is not None
    assert before.startswith("no test request has both a positive of head like and another candidate")
    for column in ("mrr", "hit@3", "ndcg@10", "recall@100", "map", "auc", "mrr_pessimistic"):
        assert np.isnan(frame[column]).all(), column
    # Among the whole catalogue the first request has an item that nobody clicked.
    assert both(log, CATALOGUE)[0] is None


def test_evaluable__some_requests_of_positives_alone_are_counted(tmp_path: Path) -> None:
    before, after, frame = both(dataset(tmp_path, [[1, 0], [1, 1]]), LOGGED)
    assert before is None
    assert after == (
        "1 of 2 test requests with a positive of head like have no other candidate: they count as perfect "
        "whatever the order"
    )
    assert frame["mrr"][1] == 1


def test_evaluable__no_request_or_no_such_head(tmp_path: Path) -> None:
    log = dataset(tmp_path, [])
    with pytest.raises(DatasetError, match="the log has no test requests to evaluate on"):
        check_evaluable(log, LOGGED)
    with pytest.raises(DatasetError, match="no head 'buy'"):
        check_evaluable(log, EvaluationSettings(head="buy"))


@pytest.mark.parametrize(
    ("ks", "message"),
    [
        ([3, 0], "ks: 0 is not a cut-off; allowed are 1 to 1,000,000"),
        ([-1], "ks: -1 is not a cut-off"),
        ([3, 10, 3], "ks: 3 is named more than once"),
        ([2_000_000], "ks: 2000000 is not a cut-off"),
        ([], "ks"),
        ([2.5], "ks"),
    ],
)
def test_settings__bad_cut_offs_are_refused(ks: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(EvaluationSettings, {"ks": ks})
