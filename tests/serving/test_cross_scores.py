"""Scores of the few items with a history, and one score for all others: the same as one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import RequestKeys
from interactrank.serving.cross_scores import CrossScores
from tests.data import logs
from tests.models import search

SPARSE = """cross_features=[
    {kind: iqp, key: query, engagement: click}, {kind: iqp, key: query, engagement: click, window: 1d},
    {kind: iqp, key: words, engagement: click, average: geometric},
    {kind: iqp, key: query, engagement: click, statistic: rate},
    {kind: touch, statistic: recency}, {kind: touch, statistic: order}, {kind: item_cosine}]"""


@pytest.mark.parametrize("hidden", [[], [4]])
def test_the_sparse_form_is_the_dense_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: list[int]
) -> None:
    events, items, users = logs.random_log(3, requests=60)
    for row in events:
        row.pop("split")
    items = [*items, *(logs.item(f"new{n}", "thing") for n in range(60))]
    schema = logs.schema(SPARSE, without=("events.split",))
    log = logs.prepared(
        tmp_path, events, items, users, schema=schema, settings={"split": {"test_share": 0.4}}
    )
    model = search.model(log, cross_features={"hidden_dims": hidden})
    scores = CrossScores(model.score_head, log.cross)
    looked: list[int] = []
    look_up = scores._look_up

    def counted(keys: RequestKeys, rows: NDArray[np.int64] | None) -> CrossFeatureTensors:
        looked.append(72 if rows is None else len(rows))
        return look_up(keys, rows)

    monkeypatch.setattr(scores, "_look_up", counted)
    some = search.requests(log, "test")
    weights = torch.tensor([1.0, -0.5])
    random = np.random.default_rng(0)
    for n in range(len(some)):
        keys = some.take(np.array([n])).keys()
        for rows in (None, random.permutation(72)[:40], np.arange(12), np.arange(20, 30)):
            size = 72 if rows is None else len(rows)
            dots = torch.randn(size)
            with torch.inference_mode():
                expected = dots + model.score_head.rest(look_up(keys, rows)) @ weights
            compiled = dots.clone()
            scores.slow_add_to(dots, keys, rows, weights)
            torch.testing.assert_close(dots, expected)
            scores.add_to(compiled, keys, rows, weights)
            torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-4)
    assert 0 < np.median(looked) < 40  # most look-ups are of a few
