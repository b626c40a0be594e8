"""A whole request on the demo's log: read, query tower, candidates, scores and the best of them.

The model has the demo's settings and its first weights, which cost what trained ones cost.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.harness import Contestant, Group, Step
from interactrank.checkpoint.weights import save_model
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import process_group
from interactrank.models import InteractRank
from interactrank.runs.config import load_config
from interactrank.runs.datasets import prepare_dataset, simulate_log
from interactrank.serving import PreRanker
from interactrank.serving.export import export_model

CANDIDATES, KEPT, REQUESTS = 1_000, 500, 200


def request_group(options: argparse.Namespace) -> Group:
    """Parts of a request, and all of it."""
    with tempfile.TemporaryDirectory() as folder:
        ranker, requests, items = _demo(Path(folder), options.smoke)
    size = min(CANDIDATES, items // 2)
    random = np.random.default_rng(0)
    candidates = [random.choice(items, size, replace=False) for _ in requests]
    weights = torch.ones(1, len(ranker.schema.head_names))[0]

    def query_side() -> Step:
        endless = itertools.cycle(requests)
        return lambda: ranker._queries(ranker.read(next(endless)).requests, weights)

    def whole(k: int, *, catalogue: bool = False) -> Step:
        endless = itertools.cycle(zip(requests, candidates, strict=True))

        def step() -> None:
            request, rows = next(endless)
            ranker.rank(request, None if catalogue else rows, k)

        return step

    contestants = [
        Contestant("query_side", query_side),
        Contestant("rank_candidates", lambda: whole(size // 2)),
        Contestant("rank_catalogue", lambda: whole(size // 2, catalogue=True)),
    ]
    return Group("request", contestants, "requests", {"candidates": size, "kept": size // 2, "items": items})


def _demo(folder: Path, smoke: bool) -> tuple[PreRanker, list[dict[str, Any]], int]:
    """An export on the demo's log, some of its requests as they come to a server, and its items."""
    demo = resources.files("interactrank") / "configs" / "demo.yaml"
    with resources.as_file(demo) as path:
        config = load_config(path, ["simulate.requests=400", "simulate.items=200"] if smoke else [])
    simulate_log(config, folder / "log")
    prepare_dataset(config, folder / "log", folder / "prepared")
    log = PreparedDataset(folder / "prepared")
    torch.manual_seed(0)
    model = InteractRank(layout=log.layout, settings=config.model).eval()
    with process_group("cpu"):
        save_model(model, folder / "model.safetensors")
    facts = {
        "model": {"name": "interactrank", "settings": config.model.model_dump(mode="json")},
        "head_weights": dict.fromkeys(log.schema.head_names, 1.0),
    }
    export_model(model, log, folder / "export", weights=folder / "model.safetensors", facts=facts)
    rows = pq.read_table(next((folder / "log").glob("events*")), columns=["query", "user_id"])
    some = rows.slice(rows.num_rows // 2, REQUESTS * 25).to_pylist()[::25]
    return PreRanker.open(folder / "export"), some, len(log.items)
