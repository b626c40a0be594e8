"""Does a learned position bias find the truth, and is the ranking better for it? On simulated logs.

    python -m benchmarks.position

People look at position p of a simulated list with probability p ** -bias (``simulate.position_bias``). The
order of the list follows the match, or is random (``simulate.retrieval_strength``). The same model is trained
with ``model.position_biases`` and without. Its ranking of the test requests is judged by the truth without
the position: the chance of an engagement of each item if it had been looked at. What the log shows (clicks at
the logged positions) would reward a model that ranks like the log.

Found bias: the learned number of each position against -bias log p, its truth. Further arguments are
overrides of the config.

Shapes: C candidates of the requests, K positions.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import machine, report, tables
from benchmarks.frontier import DEMO, TINY
from benchmarks.harness import RESULTS
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.columns import POSITION, TRUE_PROBABILITY
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.evaluation.scorers import ModelScorer
from interactrank.models import InteractRank
from interactrank.runs.config import load_config
from interactrank.runs.run_directory import open_model
from interactrank.runs.training import train_model
from interactrank.runs.workflow import make_dataset

QUESTION = "does a learned position bias find the truth, and is the ranking better for it?"
COLUMNS = [
    *("bias", "order", "model", "seed"),
    *("truth in the top 3", "correlation", "slope", "largest error"),
]
ORDERS = {"as the match": 0.7, "random": 0.0}  # simulate.retrieval_strength
LOGS = [(0.1, "as the match"), (1.0, "as the match"), (1.0, "random")]
SETTINGS = (
    *("ranks=1", "training.validate_every=null", "training.tensorboard=false", "simulate.requests=8000"),
    *("training.epochs=3", "training.dense_optimizer.lr=0.02"),
    "model.loss={pointwise_weight: 0, listwise_weight: 1, sampled_softmax_weight: 0}",
)


def attraction(chance: NDArray[Any], position: NDArray[Any], bias: float) -> NDArray[np.float64]:
    """The chance of an engagement of an item that is looked at, [C].

    Args:
        chance: [C] at its logged position, ``true_probability``.
        position: [C], 1 for the top.
        bias: of the simulation.

    Example::

        >>> attraction(np.array([0.25, 0.5]), np.array([2, 1]), 1.0).tolist()
        [0.5, 0.5]
    """
    return np.asarray(chance, np.float64) * np.asarray(position, np.float64) ** bias


def share_of_best(
    scores: NDArray[Any], truth: NDArray[Any], lengths: NDArray[Any], k: int = 3
) -> NDArray[np.float64]:
    """What the first k of each request are worth, as a share of the best k, [R].

    Args:
        scores: [C] of a ranker.
        truth: [C] what each candidate is worth.
        lengths: [R] candidates of each request.
        k: of the top.

    Example::

        >>> share_of_best(np.array([1, 2]), np.array([0.4, 0.1]), np.array([2]), k=1).tolist()
        [0.25]
    """
    found, start = [], 0
    for length in lengths:
        part = slice(start, start + length)
        first = np.argsort(-scores[part], kind="stable")[:k]
        found.append(truth[part][first].sum() / np.sort(truth[part])[-k:].sum())
        start += length
    return np.array(found)


def found_bias(model: InteractRank, bias: float) -> tuple[float, float, float]:
    """Correlation of the learned biases with the truth, slope of the line through them, and largest error."""
    assert model.position_bias is not None
    learned = model.position_bias.relative().double().numpy()
    true = -bias * np.log(np.arange(1, len(learned) + 1))
    slope = float(learned @ true / (true @ true))  # the line goes through the first position, which is 0
    return float(np.corrcoef(learned, true)[0, 1]), slope, float(np.abs(learned - true).max())


def true_share(model: InteractRank, dataset: PreparedDataset, bias: float) -> float:
    """Mean of :func:`share_of_best` over the test requests."""
    scorer = ModelScorer(model, dataset, 0, torch.device("cpu"))
    found = []
    settings = LoaderSettings(batch_requests=1000, prefetch=0)
    for requests in SearchLoader(dataset, "test", settings, shuffle=False).requests():
        logged = requests.positions("candidates")
        chance, place = requests.jagged(TRUE_PROBABILITY).values, requests.jagged(POSITION).values
        scores = scorer(requests, logged).numpy()
        found.append(share_of_best(scores, attraction(chance, place, bias), logged.lengths))
    return float(np.concatenate(found).mean())


def measure(options: argparse.Namespace, folder: Path, overrides: Sequence[str]) -> list[list[Any]]:
    """A row for each log, seed and model."""
    rows = []
    for number, (bias, order) in enumerate(options.logs):
        log = (f"simulate.position_bias={bias}", f"simulate.retrieval_strength={ORDERS[order]}")
        config = load_config(DEMO, [*SETTINGS, *overrides, *log])
        positions = config.simulate.candidates_max if config.simulate else 0
        where = folder / str(number)
        dataset = make_dataset(config, None, where)
        for seed in range(options.seeds):
            for name, learned in (("without biases", 0), ("with biases", positions)):
                changes = {("model", "position_biases"): learned, ("training", "seed"): seed}
                output = where / f"{learned}_{seed}"
                train_model(config.with_settings("interactrank", changes), where / "prepared", output)
                _, model = open_model(output, dataset)
                of_bias = found_bias(model, bias) if learned else (None, None, None)
                rows.append([bias, order, name, seed, true_share(model, dataset, bias), *of_bias])
    return rows


def main(arguments: list[str] | None = None) -> Path:
    """Simulate, train and rank; write the result; return the path of the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result files")
    options, overrides = parser.parse_known_args(arguments)
    silence_known_warnings()
    before = machine.load()
    options.logs = LOGS
    if options.smoke:
        options.logs, options.seeds, overrides = LOGS[1:2], 1, [*TINY, *overrides]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, Path(folder), overrides)
    note = (
        "'truth in the top 3': the chance of an engagement of the first three items of each test request, "
        "had they been looked at, as a share of that of the best three. Correlation, slope and largest "
        "error: of the learned bias of each position against -bias log p, relative to the first position."
    )
    table = report.Table(title="the simulated log", columns=COLUMNS, rows=rows, note=note)
    return tables.write(
        "position", QUESTION, [table], smoke=options.smoke, load_before=before, folder=options.output
    )


if __name__ == "__main__":
    main()
