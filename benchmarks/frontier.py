"""What a candidate costs and what the ranking is worth, for every model and baseline of a run, on one thread.

    python -m benchmarks.frontier --run runs/lastfm --name lastfm

A directory of ``interactrank run`` has the models and their quality (``metrics.json``, with intervals). Here
each ranks one request after the other, 500 candidates each: those that the log shows, then others of the
catalogue. What depends on an item alone is there before the clock starts (its vector; of an early-interaction
model or trees nothing), what depends on the request is computed once a request, as a serving engine would.

- **us a candidate**: the whole time of a request over its candidates, the look-up of cross features included.
- **look-up**: the part of it that reads engagement counts and text matches. Models of one log that read the
  same features pay the same.
- **one more**: what another candidate adds once its cross features are there; the slope between a tenth of
  the candidates and all of them.
- **operations**: arithmetic of one more candidate in PyTorch, as `benchmarks/operations.py` counts it; a
  scorer that works elsewhere says it in its attribute ``operations_per_candidate``.

Models take turns, and each request is measured several times; the fastest time counts, p50 and p90 are over
requests. A model is on the frontier if none is both cheaper and better. A model that is registered
later is measured as it is, through the scorer that evaluation ranks with.

Shapes: C candidates of one request.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, report, tables
from benchmarks.candidate_cost import Cost, measure, sample_requests
from benchmarks.frontier_picture import plot
from benchmarks.harness import RESULTS
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.metrics import headline
from interactrank.evaluation.report import model_title
from interactrank.evaluation.scorers import BASELINES, Scorer
from interactrank.runs.config import RunConfig, load_config
from interactrank.runs.datasets import open_dataset
from interactrank.runs.evaluation import scorers_of
from interactrank.runs.run_directory import is_trained
from interactrank.runs.workflow import run_models

QUESTION = "what does a candidate cost, and what is the ranking worth, for every model of a run?"
COLUMNS = [
    *("model", "quality", "low", "high", "us a candidate p50", "p90", "look-up", "one more"),
    *("us a request", "operations", "on the frontier"),
]
DEMO = Path(__file__).parents[1] / "interactrank" / "configs" / "demo.yaml"
MODELS = "models=[interactrank, early_interaction, late_interaction, two_tower, bm25]"
SMALL = ("ranks=1", MODELS, "simulate.requests=3000", "training.epochs=1", "training.validate_every=null")
TINY = (
    *("simulate.users=40", "simulate.items=120", "simulate.intents=10", "simulate.topics=4"),
    *("simulate.requests=300", "simulate.pool=30", "simulate.candidates_min=5", "simulate.candidates_max=10"),
    *("prepare.threads=1", "training.steps=2", "evaluation.resamples=100"),
)


def frontier_table(
    costs: Mapping[str, Cost],
    quality: Mapping[str, Mapping[str, float]],
    candidates: int,
    title: str,
    note: str,
) -> report.Table:
    """A row for each model, the cheapest first.

    Args:
        costs: of :func:`measure`.
        quality: model -> ``value``, ``low``, ``high`` of the metric.
        candidates: C.
        title: of the table.
        note: below it.
    """
    few = max(1, candidates // 10)
    rows = []
    for name, cost in costs.items():
        cold, warm = np.array(cost.cold), np.array(cost.warm)
        of = quality[name]
        more = float(np.median(warm - np.array(cost.few))) / (candidates - few)
        rows.append(
            [
                model_title(name),
                *(of[key] for key in ("value", "low", "high")),
                1e6 * float(np.median(cold)) / candidates,
                1e6 * float(np.quantile(cold, 0.9)) / candidates,
                1e6 * float(np.median(cold - warm)) / candidates if cost.looks_up else None,
                1e6 * more,
                1e6 * (float(np.median(warm)) - more * candidates),
                cost.operations,
            ]
        )
    rows.sort(key=lambda row: row[4])
    for row in rows:
        row.append("yes" if on_frontier(row, rows) else "")
    return report.Table(title=title, columns=COLUMNS, rows=rows, note=note)


def on_frontier(row: Sequence[Any], rows: Sequence[Sequence[Any]]) -> bool:
    """Whether no model is cheaper and at least as good, or as cheap and better.

    Example::

        >>> rows = [["a", 0.5, 0, 0, 1.0], ["b", 0.4, 0, 0, 2.0], ["c", 0.6, 0, 0, 3.0]]
        >>> [on_frontier(row, rows) for row in rows]
        [True, False, True]
    """
    return not any(
        other[4] <= row[4] and other[1] >= row[1] and (other[4] < row[4] or other[1] > row[1])
        for other in rows
    )


def trained_scorers(
    run: Path, config: RunConfig, dataset: PreparedDataset, names: Sequence[str]
) -> dict[str, Scorer]:
    """A scorer for each of these models that is there; each looks up its own cross features alone."""
    found: dict[str, Scorer] = {}
    for name in names:
        folder = None if name in BASELINES else run / name
        if folder is None or is_trained(folder):
            found |= scorers_of(config, dataset, {name: folder})
        else:
            print(f"{name}: no trained model; left out", file=sys.stderr)
    return found


def measure_run(run: Path, options: argparse.Namespace) -> tuple[report.Table, str]:
    """The table of a run, and its metric."""
    config = load_config(run / "config.yaml")
    dataset = open_dataset(config, run / "prepared")
    found = json.loads((run / "metrics.json").read_text())["models"]
    metric = options.metric or headline(next(iter(found.values())))[0]
    known = {name: of[metric] for name, of in found.items() if of.get(metric, {}).get("value") is not None}
    if not known:
        raise SystemExit(f"no model of '{run}' has the metric {metric}; --metric names another")
    scorers = trained_scorers(run, config, dataset, list(known))
    candidates = min(options.candidates, len(dataset.items))
    split = config.evaluation.split
    requests = sample_requests(dataset, split, options.requests, options.seed)
    costs = measure(scorers, requests, candidates, options.repeats, options.seed)
    of = {"logged": "the logged candidates", "catalogue": "the whole catalogue"}[config.evaluation.candidates]
    note = (
        f"{metric.upper()} on {next(iter(known.values()))['requests']:,} {split} requests, each ranking "
        f"{of}, with its 95 % interval. Microseconds on one thread, {len(requests)} requests of {candidates} "
        f"candidates each, the fastest of {options.repeats} measurements of each: 'us a candidate' is the "
        "whole request, 'look-up' the part of it that reads engagement counts, 'one more' what another "
        "candidate adds without its look-up, 'us a request' what remains, once. Operations: of one more "
        "candidate."
    )
    return frontier_table(costs, known, candidates, f"{options.name}: {metric.upper()}", note), metric


def main(arguments: list[str] | None = None) -> Path:
    """Measure a run; write the result, its page and its picture; return the path of the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", type=Path, help="directory of `interactrank run`; that of a small demo when left out"
    )
    parser.add_argument("--name", default="demo", help="of the log, in titles and names of files")
    parser.add_argument("--metric", help="the first of the run's table when left out")
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result files")
    options = parser.parse_args(arguments)
    silence_known_warnings()
    torch.set_num_threads(1)
    before = machine.load()
    if options.smoke:
        options.requests, options.repeats, options.candidates = 3, 1, 20
    with tempfile.TemporaryDirectory() as folder:
        run = options.run
        if run is None:
            run = Path(folder) / "run"
            run_models(load_config(DEMO, [*SMALL, *(TINY if options.smoke else ())]), None, run)
        table, metric = measure_run(run, options)
    path = tables.write(
        f"frontier_{options.name}",
        QUESTION,
        [table],
        smoke=options.smoke,
        load_before=before,
        folder=options.output,
    )
    plot(table["rows"], path.with_suffix(".png"), metric, options.name)
    return path


if __name__ == "__main__":
    main()
