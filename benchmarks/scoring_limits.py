"""What a pre-ranker may take, next to what it took in the same run.

Shapes: N items of the catalogue, C candidates, F columns of a tree model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.scoring_data import Engine, Request
from interactrank.core.extras import require

TREES, LEAVES, COLUMNS = 300, 31, 10
PEERS = ("faiss_flat", "usearch_exact")
Keep = Callable[[Request], NDArray[np.int64]]


def lightgbm_predict(of: Engine, keep: int, *, size: int, threads: int) -> Keep:
    """LightGBM's trees over columns of the candidates that lie ready, and the best of them."""
    lightgbm = require("lightgbm", "lightgbm")
    random = np.random.default_rng(0)
    train = random.normal(size=(20_000, COLUMNS))
    label = (train[:, :3].sum(1) + random.normal(size=len(train)) > 1).astype(int)
    settings = {"objective": "binary", "num_leaves": LEAVES, "verbosity": -1, "num_threads": threads}
    booster = lightgbm.train(settings, lightgbm.Dataset(train, label), TREES)
    columns = random.normal(size=(size, COLUMNS))

    def run(request: Request) -> NDArray[np.int64]:
        scores = torch.from_numpy(booster.predict(columns, num_threads=threads))
        return request.rows[torch.topk(scores, keep).indices].numpy()

    return run


def overlap(exact: Keep, other: Keep, requests: list[Request]) -> float:
    """Share of what one keeps that the other keeps as well, over some requests."""
    with torch.inference_mode():
        kept = [(set(exact(r).tolist()), set(other(r).tolist())) for r in requests]
    return float(np.mean([len(a & b) / len(a) for a, b in kept]))


def limits_table(result: dict[str, Any], int8_overlap: float) -> report.Table:
    """A row for each limit; those of sizes that were not measured are left out."""
    took = {(r["group"], r["contestant"]): r["cpu_runtime_p50_ms"] for r in result["results"]}
    rows: list[list[Any]] = []

    def ratio(what: str, own: tuple[str, str], other: tuple[str, str], most: float) -> None:
        if own in took and other in took:
            value = took[own] / took[other]
            rows.append([what, value, f"at most {most}", "yes" if value <= most else "no"])

    def most(what: str, own: tuple[str, str], ms: float) -> None:
        if own in took:
            rows.append([what, took[own], f"at most {ms} ms", "yes" if took[own] <= ms else "no"])

    ours = "pre_ranker_history"
    ratio(
        "all of 100,000 items / bare product and top k",
        ("catalogue_100000", ours),
        ("catalogue_100000", "matmul_topk"),
        1.5,
    )
    ratio(
        "1,000,000 items / 100,000 items",
        ("catalogue_1000000", ours),
        ("catalogue_100000", ours),
        12,
    )
    ratio(
        "int8 / float32, all of 100,000 items",
        ("catalogue_100000", f"{ours}_int8"),
        ("catalogue_100000", ours),
        1,
    )
    gathered = "candidates_100000"
    ratio("100,000 of the catalogue / bare index_select", (gathered, ours), (gathered, "index_select"), 1.3)
    most("1,000 candidates, ms", ("candidates_1000", ours), 0.3)
    most("query side of the demo's request, ms", ("request", "query_side"), 2)
    for group in dict.fromkeys(name for name, _ in took if name.startswith("candidates_")):
        for peer in PEERS:
            if (group, peer) not in took:
                continue
            gathering = took[group, peer] + took[group, "index_select"]
            value = took[group, "pre_ranker_dot"] / gathering
            what = f"{group}: dot products / index_select and {peer}"
            rows.append([what, value, "at most 1", "yes" if value <= 1 else "no"])
    ten = "candidates_10000"
    ratio("10,000 candidates / LightGBM's predict", (ten, ours), (ten, "lightgbm_predict"), 1 / 20)
    rows.append(
        [
            "share of float32's best that int8 keeps",
            int8_overlap,
            "at least 0.995",
            "yes" if int8_overlap >= 0.995 else "no",
        ]
    )
    return report.Table(
        title="Limits",
        columns=["what", "measured", "limit", "kept"],
        rows=rows,
        note="Medians of the wall clock. FAISS and usearch search vectors that lie side by side, so these "
        f"are gathered for them first. LightGBM has {TREES} trees of {LEAVES} leaves over {COLUMNS} columns "
        "that lie ready.",
    )
