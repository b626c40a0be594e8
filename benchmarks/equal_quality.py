"""Does training by request, or in bfloat16, cost quality? The same model on the same log, trained three ways.

    python -m benchmarks.equal_quality

flat: every candidate is a request of its own (R = C), as a log with one row per impression would be trained.
float32, bf16: grouped by request, as the library trains. Several seeds each; HIT@3 of the test requests.

Shapes: R requests, C candidates.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import report
from benchmarks.harness import Script, main
from interactrank.batch import SearchBatch
from interactrank.core.epoch_partition import Ranges
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.cross_features.jagged import Jagged
from interactrank.data import prepare_log
from interactrank.data.loading.collate import collate
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.simulator import simulate
from interactrank.distributed.world import process_group
from interactrank.evaluation.evaluator import evaluate, head_index
from interactrank.evaluation.metric_frame import MetricFrame, concatenate_frames
from interactrank.evaluation.scorers import ModelScorer
from interactrank.evaluation.stats.bootstrap import bootstrap_intervals
from interactrank.evaluation.stats.paired import compare_paired
from interactrank.models import InteractRank
from interactrank.runs.config import RunConfig, load_config
from interactrank.training.trainer import train

DEMO = Path(__file__).parents[1] / "interactrank" / "configs" / "demo.yaml"
WAYS = ("flat", "float32", "bf16")
METRICS = ("hit@3", "mrr")


class FlatLoader(SearchLoader):
    """The same candidates in the same order, each as a request of its own."""

    def _batches(self, epoch: int, start: int, ranges: Ranges | None) -> Iterator[SearchBatch]:
        for _, requests in self._requests(epoch, start, ranges, self._columns(everything=False)):
            candidates = requests.candidates()
            of_request = np.repeat(np.arange(len(requests)), candidates.items.lengths)
            items = Jagged(candidates.items.values, np.ones(len(of_request), np.int64))
            yield collate(requests.take(of_request), replace(candidates, items=items), self.dataset.items)


def config(options: argparse.Namespace, way: str, seed: int) -> RunConfig:
    """The demo's model and log at a small size; without the softmax over a request's own candidates."""
    return load_config(
        DEMO,
        [
            f"simulate.requests={120 if options.smoke else options.requests}",
            "schema.sequence.length=10",
            "model.loss.listwise_weight=0",
            f"loader.seed={seed}",
            f"training.seed={seed}",
            f"training.epochs={1 if options.smoke else options.epochs}",
            f"training.autocast={'bf16' if way == 'bf16' else 'none'}",
            "training.validate_every=null",
            "training.tensorboard=false",
            "evaluation.candidates=logged",
        ],
    )


def one(options: argparse.Namespace, log: PreparedDataset, folder: Path, way: str, seed: int) -> MetricFrame:
    """Train a model one way and rank the test requests with it."""
    of = config(options, way, seed)
    with process_group(options.device) as world:
        torch.manual_seed(seed)
        model = InteractRank(layout=log.layout, settings=of.model)
        loader = (FlatLoader if way == "flat" else SearchLoader)(log, "train", of.loader)
        result = train(model, loader, of.training, folder / f"{way}_{seed}")
        trained = result.dmp.module.eval()
        head = head_index(log, of.evaluation)
        table = evaluate(ModelScorer(trained, log, head, world.device), log, of.evaluation)
    return table | {"seed": np.full(len(table["request_index"]), seed)}


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Train every way with every seed; compare request by request."""
    silence_known_warnings()
    seeds = range(1 if options.smoke else options.seeds)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    parts: dict[str, list[MetricFrame]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = config(options, "flat", 0)
        assert first.simulate is not None
        simulate(first.simulate, folder / "log")
        prepare_log(folder / "log", folder / "prepared", first.search, first.prepare)
        log = PreparedDataset(folder / "prepared")
        for seed in seeds:
            for way in WAYS:
                start = time.perf_counter()
                parts[way].append(one(options, log, folder, way, seed))
                seconds[way].append(time.perf_counter() - start)
    found = {way: concatenate_frames(of) for way, of in parts.items()}
    requests = found["flat"]["request_index"]  # drawn as a whole, with all seeds
    values: list[list[Any]] = []
    for way, table in found.items():
        intervals = bootstrap_intervals(table, METRICS, clusters=requests)
        for metric in METRICS:
            low, value, high = (getattr(intervals[metric], k) for k in ("low", "value", "high"))
            means = [float(np.nanmean(of[metric])) for of in parts[way]]
            values.append(
                [way, metric, value, low, high, min(means), max(means), float(np.median(seconds[way]))]
            )
    differences: list[list[Any]] = []
    for first_way, second_way in (("float32", "flat"), ("bf16", "float32"), ("bf16", "flat")):
        paired = compare_paired(
            found[first_way], found[second_way], METRICS, key="request_index", clusters=requests
        )
        for metric, d in paired.items():
            within = "yes" if d.low <= 0 <= d.high else "no"
            differences.append(
                [f"{first_way} - {second_way}", metric, d.difference, d.low, d.high, d.p_value, within]
            )
    note = f"{len(seeds)} seeds, {len(set(requests.tolist()))} test requests; intervals are 95 % bootstrap."
    return [
        report.Table(
            title="Quality by way of training",
            columns=["way", "metric", "mean", "low", "high", "worst seed", "best seed", "seconds p50"],
            rows=values,
            note=note,
        ),
        report.Table(
            title="Differences, request by request",
            columns=["difference", "metric", "mean", "low", "high", "p", "interval holds 0"],
            rows=differences,
            note="Requests are drawn with all their seeds.",
        ),
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000, help="requests of the simulated log")
    parser.add_argument("--epochs", type=int, default=3)


SCRIPT = Script(
    name="equal_quality",
    question="Do training by request and bfloat16 reach the quality of flat float32 training?",
    groups=lambda options: [],
    arguments=arguments,
    tables=tables,
    memory=False,
)

if __name__ == "__main__":
    main(SCRIPT)
