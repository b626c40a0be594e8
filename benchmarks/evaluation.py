"""How close evaluation comes to the products it needs, and its metrics next to other libraries.

    python -m benchmarks.evaluation --threads 1 --rounds 5

``evaluate`` reads requests, encodes them, looks up their history, scores, and measures every request. It
ranks the whole catalogue of N items, or the CANDIDATES that the log shows; ``two_tower`` reads neither
sequence nor history nor text. The limit multiplies the same query and item vectors, which lie ready, and
takes the best TOP (catalogue) or has each candidate's product (logged), and nothing else. The catalogue is
encoded beforehand for all of them. Metrics alone: benchmarks/metric_forms.py; equal values are checked first.

Shapes: R requests, N items, D embedding dim.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import metric_forms
from benchmarks.harness import Contestant, Group, Script, Step, main
from benchmarks.synthetic_log import CANDIDATES, prepared
from interactrank.data.loading.collate import request_batch
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.evaluation.evaluator import evaluate
from interactrank.evaluation.scorers import ModelScorer
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.models import InteractRank, ModelSettings, TowerSettings

ITEMS = (1000, 4000, 16_000, 64_000)  # N, for REQUESTS
REQUESTS, MANY = 100, (100, 200, 400, 800)  # R; many at the smallest N
TOP, DIM = 100, 64
METRICS: dict[str, tuple[Callable[[int], metric_forms.Forms], tuple[int, ...], str]] = {
    "metrics_logged": (metric_forms.logged, (100, 400, 1600), "requests"),
    "metrics_catalogue": (metric_forms.catalogue, (16, 64, 256), "requests"),
    "auc": (metric_forms.area, (10_000, 100_000, 1_000_000), "rows"),
    "auc_within_requests": (metric_forms.area_within, (50, 200, 800), "requests"),
    "intervals": (metric_forms.intervals, (1000, 4000, 16_000), "requests"),
}


class Evaluation:
    """What the contestants of a log share.

    Args:
        log: prepared.
        candidates: ``catalogue`` or ``logged``.
        requests: R, spread over the test split.
    """

    def __init__(self, log: PreparedDataset, candidates: str, requests: int) -> None:
        self.log, self.limit = log, requests
        self.settings = EvaluationSettings.model_validate({"candidates": candidates, "ks": [3, 10, TOP]})
        tower = TowerSettings(block_dim=64, hidden_dims=[64])
        self.model_settings = ModelSettings(dim=DIM, request_tower=tower, item_tower=tower)

    def scorer(self, two_tower: bool) -> ModelScorer:
        """An untrained model, which costs what a trained one costs."""
        torch.manual_seed(0)
        of = self.model_settings.two_tower() if two_tower else self.model_settings
        model = InteractRank(layout=self.log.layout, settings=of).eval()
        return ModelScorer(model, self.log, 0, torch.device("cpu"))

    def step(self, two_tower: bool) -> Step:
        """The evaluation."""
        scorer = self.scorer(two_tower)
        return lambda: evaluate(scorer, self.log, self.settings, limit=self.limit)

    def requests(self) -> PreparedRequests:
        """Those that are evaluated, as one block."""
        whole = LoaderSettings(batch_requests=self.log.num_requests("test"))
        found = next(SearchLoader(self.log, "test", whole, shuffle=False).requests())
        return found.take(np.arange(0, len(found), -(-len(found) // self.limit)))

    @torch.no_grad()
    def limit_step(self) -> Step:
        """The products of vectors that lie ready."""
        scorer, requests = self.scorer(two_tower=True), self.requests()
        query = scorer.model.encode_requests(request_batch(requests))[:, 0]
        if self.settings.candidates == "catalogue":
            block = max(1, self.settings.block_scores // len(scorer.items))
            best = min(TOP, len(scorer.items))
            return lambda: [(part @ scorer.items.t()).topk(best) for part in query.split(block)]
        logged = requests.jagged("candidates")
        request = torch.from_numpy(np.repeat(np.arange(len(requests)), logged.lengths))
        item = torch.from_numpy(logged.values.astype(np.int64))
        return lambda: (query[request] * scorer.items[item]).sum(-1)

    @torch.no_grad()
    def check(self) -> None:
        """What ``two_tower`` ranks by is, but for a scale and a shift, the product of the limit's vectors."""
        scorer, requests = self.scorer(two_tower=True), self.requests()
        query = scorer.model.encode_requests(request_batch(requests))[:, 0]

        def standard(x: Tensor) -> Tensor:
            return (x - x.mean()) / x.std()

        scores = scorer(requests, None)
        torch.testing.assert_close(standard(scores), standard(query @ scorer.items.t()), rtol=1e-3, atol=1e-3)

    def group(self, part: str, size: int) -> Group:
        """The limit and both models."""
        requests = len(self.requests())
        contestants = [
            Contestant("limit", self.limit_step, requests),
            Contestant("two_tower", lambda: self.step(two_tower=True), requests),
            Contestant("interactrank", lambda: self.step(two_tower=False), requests),
        ]
        settings = {"part": part, "size": size, "requests": requests, "items": len(self.log.items)}
        name = f"{self.settings.candidates}_requests_{requests}_items_{len(self.log.items)}"
        return Group(name, contestants, "requests", settings)


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """Evaluations by items and by requests, then the metrics alone."""
    items, many = ((100, 200, 400), (5, 10, 20)) if options.smoke else (ITEMS, MANY)
    few = many[0]
    for size in items[1:]:
        yield from _on(size, 10 * few, [("catalogue", "catalogue of N items, by N", few, size)])
    cases = [("catalogue", f"catalogue of {items[0]} items, by requests", n, n) for n in many]
    cases += [("logged", f"{CANDIDATES} logged candidates, by requests", n, n) for n in many]
    yield from _on(items[0], 10 * many[-1], cases)
    for name, (make, sizes, unit) in METRICS.items():
        for size in (10, 20, 40) if options.smoke else sizes:
            yield metric_group(name, make(size), size, unit)


def _on(items: int, requests: int, cases: list[tuple[str, str, int, int]]) -> Iterator[Group]:
    """Groups on one log: candidates, part, R and what the part is plotted by."""
    with tempfile.TemporaryDirectory() as folder:
        log = prepared(Path(folder), requests * CANDIDATES, items=items, users=requests // 10)
        Evaluation(log, "catalogue", 5).check()
        for candidates, part, limit, size in cases:
            yield Evaluation(log, candidates, limit).group(part, size)


def metric_group(name: str, forms: metric_forms.Forms, size: int, unit: str) -> Group:
    """The peer and ours, checked."""
    metric_forms.check(forms)
    settings: dict[str, Any] = {"part": name.replace("_", " "), "size": size}
    contestants = [Contestant(form, lambda f=step: f, size) for form, step in forms.items()]
    return Group(f"{name}_{size}", contestants, unit, settings)


SCRIPT = Script(
    name="evaluation",
    question="How many requests a second does evaluation rank and measure, next to the products it needs?",
    groups=groups,
    memory=False,
    x_axis="size",
    series="part",
)

if __name__ == "__main__":
    main(SCRIPT)
