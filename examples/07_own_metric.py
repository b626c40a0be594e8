# python examples/07_own_metric.py
#
# A metric and a baseline of one's own in the table that `interactrank evaluate` prints, with intervals and
# paired tests. For the command line, keep the function, the class and the two calls of `register_...` in a
# module of yours, and name it in the config:
#
#     plugins: [my_package.ranking]
#     models: [interactrank, bm25, most_shown]
#
# The log is made up, its best reachable metric is known; nothing is trained. Takes a few seconds.

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from interactrank.cross_features.jagged import Jagged
from interactrank.data import PreparedDataset, PreparedRequests, prepare_log, simulate
from interactrank.evaluation import RankMetric, RelevantRanks, register_metric
from interactrank.evaluation.comparison import compare
from interactrank.evaluation.evaluator import evaluate, evaluate_many
from interactrank.evaluation.scorers import BASELINES, Baseline, TrueProbabilityScorer, register_baseline
from interactrank.runs.config import load_config

CONFIG = Path(__file__).parents[1] / "interactrank" / "configs" / "demo.yaml"
SMALL = ["simulate.requests=600", "simulate.users=100", "simulate.items=300", "simulate.pool=60"]


def expected_reciprocal_rank(ranks: RelevantRanks) -> NDArray[np.float64]:
    """ERR of each request (Chapelle et al., CIKM 2009), [R]; NaN without a relevant candidate.

    A user looks down the list. Each relevant candidate ends the search with chance 1/2, worth 1 / its rank:
    the sum over the relevant ones, j = 1, 2, ..., of 2^-j / rank_j.
    """
    number = np.bincount(ranks.request, minlength=ranks.num_requests)
    j = np.arange(len(ranks.rank)) - (np.cumsum(number) - number)[ranks.request] + 1
    total = np.bincount(ranks.request, weights=0.5**j / ranks.rank, minlength=ranks.num_requests)
    return np.where(number > 0, total, np.nan)


class MostShown:
    """Ranks items by how often training has shown them, whatever the query."""

    def __init__(self, dataset: PreparedDataset) -> None:
        self.count = torch.from_numpy(dataset.items.train_count.astype(np.float32))

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> torch.Tensor:
        """[C] scores of the candidates; [R, N] of all items if they are None."""
        if candidates is None:
            return self.count.expand(len(requests), -1)
        return self.count[torch.from_numpy(candidates.values.astype(np.int64))]


# Ties count as if in random order: without a formula (`expected=`) the mean over 32 orders is taken.
register_metric(RankMetric(name="err", title="ERR", compute=expected_reciprocal_rank, headline=True))
register_baseline(
    Baseline(name="most_shown", title="most shown", factory=lambda dataset, settings: MostShown(dataset))
)


def main() -> None:
    config = load_config(CONFIG, [*SMALL, "models=[bm25, most_shown]", "evaluation.resamples=500"])
    assert config.simulate is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(config.simulate, folder / "log")
        prepare_log(folder / "log", folder / "prepared", config.search, config.prepare)
        dataset = PreparedDataset(folder / "prepared")
        scorers = {name: BASELINES[name].factory(dataset, config.evaluation) for name in config.models}
        frames = evaluate_many(scorers, dataset, config.evaluation)
        optimum = evaluate(TrueProbabilityScorer(dataset), dataset, config.evaluation)
        comparison = compare(frames, dataset, config.evaluation, optimum)
        comparison.show()
        written = comparison.write(folder / "report")
    err = written["models"]["bm25"]["err"]
    assert 0 < err["low"] < err["value"] < err["high"] < written["data"]["optimum"]["err"]
    assert "err" in written["paired"]["bm25 - most_shown"]


if __name__ == "__main__":
    main()
