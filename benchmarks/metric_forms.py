"""Metrics, areas and intervals next to ir_measures, scikit-learn and a plain loop.

Each function draws data and gives forms that compute the same numbers from it, the peer first. What a form
needs beforehand, such as the dictionaries of ir_measures, is made here: it is not in its time.

Shapes: R requests, C candidates, N items, M metrics, B resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ir_measures
import numpy as np
import torch
from ir_measures import AP, RR, R, Success, nDCG
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from interactrank.evaluation import (
    bootstrap_intervals,
    ranking_metrics,
    ranks_of_relevant,
    request_level_auc,
    request_metrics,
    roc_auc,
)

KS = (3, 10, 100)
CANDIDATES, ITEMS, RESAMPLES = 25, 1000, 500
Values = dict[str, Any]  # the same names from both forms
Forms = dict[str, Callable[[], Values]]


def draw(requests: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores without ties and labels, [R, width]; every request has both labels."""
    random = np.random.default_rng(0)
    scores = random.random((requests, width)).argsort(1).astype(np.float32)
    relevant = random.random((requests, width)) < 2 / width
    relevant[:, 0], relevant[:, 1] = True, False
    return scores, relevant


def logged(requests: int) -> Forms:
    """Metrics of R requests of some candidates."""
    scores, relevant = draw(requests, CANDIDATES)
    lengths = np.full(requests, CANDIDATES)
    return {
        "ir_measures": _ir_measures(scores, relevant),
        "ours": lambda: _means(ranking_metrics(scores.ravel(), relevant.ravel(), lengths, ks=KS)),
    }


def catalogue(requests: int) -> Forms:
    """Metrics of R requests that rank a whole catalogue."""
    scores, relevant = draw(requests, ITEMS)
    pairs, block = np.nonzero(relevant), torch.from_numpy(scores)
    return {
        "ir_measures": _ir_measures(scores, relevant),
        "ours": lambda: _means(request_metrics(ranks_of_relevant(block, pairs), ks=KS)),
    }


def _ir_measures(scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> Callable[[], Values]:
    names = [str(n) for n in range(scores.shape[1])]
    run = {str(r): dict(zip(names, row, strict=True)) for r, row in enumerate(scores.astype(float).tolist())}
    qrels = {str(r): {names[n]: 1 for n in np.flatnonzero(row)} for r, row in enumerate(relevant)}
    measures = {"map": AP, "mrr": RR}
    for k in KS:
        measures |= {f"hit@{k}": Success @ k, f"recall@{k}": R @ k, f"ndcg@{k}": nDCG @ k}

    def step() -> Values:
        found = ir_measures.calc_aggregate(list(measures.values()), qrels, run)
        return {name: found[measure] for name, measure in measures.items()}

    return step


def _means(table: dict[str, NDArray[Any]]) -> Values:
    names = ["map", "mrr", *(f"{name}@{k}" for name in ("hit", "recall", "ndcg") for k in KS)]
    return {name: float(table[name].mean()) for name in names}


def area(rows: int) -> Forms:
    """The area under the ROC curve over all rows."""
    random = np.random.default_rng(0)
    scores = np.round(random.random(rows), 5)  # with ties
    labels = (random.random(rows) < scores).astype(np.int64)
    return {
        "sklearn": lambda: {"auc": roc_auc_score(labels, scores)},
        "ours": lambda: {"auc": roc_auc(scores, labels)},
    }


def area_within(requests: int) -> Forms:
    """The mean area within R requests."""
    scores, relevant = draw(requests, CANDIDATES)
    lengths = np.full(requests, CANDIDATES)

    def loop() -> Values:
        return {"auc": np.mean([roc_auc_score(of, s) for of, s in zip(relevant, scores, strict=True)])}

    return {
        "sklearn": loop,
        "ours": lambda: {"auc": request_level_auc(scores.ravel(), relevant.ravel(), lengths)},
    }


def intervals(requests: int) -> Forms:
    """Bootstrap intervals of the metrics of R requests."""
    scores, relevant = draw(requests, CANDIDATES)
    table = ranking_metrics(scores.ravel(), relevant.ravel(), np.full(requests, CANDIDATES), ks=KS)
    names = ["map", "mrr", "auc", *(f"{name}@{k}" for name in ("hit", "recall", "ndcg") for k in KS)]
    values = np.stack([table[name] for name in names], 1)

    def loop() -> Values:
        random = np.random.default_rng(0)
        means = [values[random.integers(requests, size=requests)].mean(0) for _ in range(RESAMPLES)]
        low, high = np.quantile(means, [0.025, 0.975], axis=0)
        return {name: [low[n], high[n]] for n, name in enumerate(names)}

    def ours() -> Values:
        found = bootstrap_intervals(table, names, resamples=RESAMPLES)
        return {name: [of.low, of.high] for name, of in found.items()}

    return {"loop": loop, "ours": ours}


def check(forms: Forms) -> None:
    """Both forms give the same numbers.

    Raises:
        AssertionError: they do not.
    """
    peer, ours = (form() for form in forms.values())
    assert set(peer) == set(ours)
    for name, value in peer.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-9, err_msg=name)
