"""What a scorer spends on the candidates of one request: seconds and operations.

Shapes: C candidates of one request.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.operations import operations_of
from interactrank.cross_features.jagged import Jagged
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.evaluation.scorers import CrossBlock, Scorer

__all__ = ["Cost", "candidates_of", "measure", "operations", "sample_requests"]


@dataclass
class Cost:
    """Seconds of each request, and operations.

    Attributes:
        cold: C candidates, nothing looked up before.
        warm: the same with the cross features looked up already.
        few: a tenth of the candidates, warm.
        operations: of one more candidate; None if they are not known.
        looks_up: whether cross features are looked up apart from the score.
    """

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    few: list[float] = field(default_factory=list)
    operations: float | None = None
    looks_up: bool = False


def measure(
    scorers: Mapping[str, Scorer],
    requests: Sequence[PreparedRequests],
    candidates: int,
    repeats: int,
    seed: int = 0,
) -> dict[str, Cost]:
    """Time each scorer on each request.

    Args:
        scorers: by name; they take turns.
        requests: one request each.
        candidates: C.
        repeats: measurements of a request; the fastest counts.
        seed: of the candidates that the log does not show.
    """
    random = np.random.default_rng(seed)
    costs = {
        name: Cost(looks_up=isinstance(getattr(scorer, "cross", None), CrossBlock))
        for name, scorer in scorers.items()
    }
    for number, request in enumerate(requests):
        many = candidates_of(request, candidates, random)
        few = Jagged(many.values[: max(1, candidates // 10)], np.array([max(1, candidates // 10)]))
        best: dict[str, list[float]] = {name: [np.inf] * 3 for name in scorers}
        for repeat in range(repeats):
            for name in scorers if repeat % 2 == 0 else reversed(list(scorers)):
                taken = _times(scorers[name], request, many, few)
                best[name] = [min(old, new) for old, new in zip(best[name], taken, strict=True)]
        for name, (cold, warm, of_few) in best.items():
            costs[name].cold.append(cold)
            costs[name].warm.append(warm)
            costs[name].few.append(of_few)
            if number == 0:
                costs[name].operations = operations(scorers[name], request, many, few)
    return costs


def candidates_of(request: PreparedRequests, candidates: int, random: np.random.Generator) -> Jagged:
    """Items of one request: those that the log shows, then others of the catalogue, no item twice."""
    logged = np.unique(request.positions("candidates").values)[:candidates]
    others = np.setdiff1d(np.arange(len(request.items)), logged)
    drawn = random.choice(others, candidates - len(logged), replace=False)
    return Jagged(np.concatenate([logged, drawn]).astype(logged.dtype), np.array([candidates]))


def operations(scorer: Scorer, request: PreparedRequests, many: Jagged, few: Jagged) -> float | None:
    """Operations of one more candidate; None if the scorer works outside of PyTorch and does not say."""
    said = getattr(scorer, "operations_per_candidate", None)
    if said is not None:
        return float(said)
    if not isinstance(getattr(scorer, "model", None), torch.nn.Module):
        return None
    at_many, at_few = (operations_of(lambda c=c: scorer(request, c)) for c in (many, few))
    return (at_many - at_few) / (len(many.values) - len(few.values))


def _times(
    scorer: Scorer, request: PreparedRequests, many: Jagged, few: Jagged
) -> tuple[float, float, float]:
    """Seconds of many candidates cold, of the same warm, of few warm."""
    new = request.take(np.array([0]))  # what is kept for a request is found by its identity
    cold = _seconds(scorer, new, many)
    warm = _seconds(scorer, new, many)
    scorer(new, few)
    return cold, min(cold, warm), _seconds(scorer, new, few)


def _seconds(scorer: Scorer, request: PreparedRequests, candidates: Jagged) -> float:
    start = time.perf_counter()
    scorer(request, candidates)
    return time.perf_counter() - start


def sample_requests(dataset: PreparedDataset, split: str, number: int, seed: int) -> list[PreparedRequests]:
    """Some requests of a split, each alone."""
    loader = SearchLoader(dataset, split, LoaderSettings(batch_requests=256, prefetch=0), shuffle=False)
    total = dataset.num_requests(split)
    rows = np.sort(np.random.default_rng(seed).choice(total, min(number, total), replace=False))
    found, first = [], 0
    for block in loader.requests():
        here = rows[(rows >= first) & (rows < first + len(block))] - first
        found += [block.take(np.array([row])) for row in here]
        first += len(block)
    return found
