"""Tables next to the times of ``scoring``: bandwidth reached, parts of a request, FLOPs of a candidate.

Shapes: C candidates, D embedding dim, X history features.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine, report
from benchmarks.scoring_data import DIM, SCHEMA, Engine, score_head_of
from benchmarks.train_step import BLOCKS, HEADS, HIDDEN, ITEM, QUERY
from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import CrossColumns
from interactrank.modules import candidate_dots, mask_net_tower

COPIED = ("matmul_topk", "faiss_flat", "usearch_exact")  # contestants that are given a copy of the vectors
PAPER = 21  # times fewer FLOPs than early interaction, arXiv 2504.06609


def bandwidth_table(options: argparse.Namespace, result: dict[str, Any]) -> report.Table:
    """The bytes that must be read against those that the memory could have given in that time."""
    device = torch.device(options.device)
    big = torch.ones(1 << (18 if options.smoke else 27), device=device)  # 512 MiB

    def read() -> None:
        big.sum()

    rate = 4 * len(big) / machine.best_seconds(read, device, 0.01 if options.smoke else 1.0) / 1e9
    one_thread = device.type == "cpu" and options.threads == 1  # CPU time: less disturbed by others
    rows = []
    for row in result["results"]:
        if row["group"] == "request" or row["contestant"] in ("early_interaction", "lightgbm_predict"):
            continue
        copied = row["contestant"] in COPIED or row["group"].startswith("catalogue")
        number = 1 if row["contestant"].endswith("int8") else 4
        bytes_read = row["candidates"] * (number * row["dim"] + (0 if copied else 8))
        took = row["cpu_time_p50_ms" if one_thread else "cpu_runtime_p50_ms"] / 1e3
        reached = bytes_read / took / 1e9
        cells = [row["candidates"], row["contestant"], bytes_read / 1e6, took * 1e3, reached]
        rows.append([*cells, 100 * reached / rate])
    return report.Table(
        title="Share of the memory bandwidth",
        columns=["candidates", "contestant", "MB to read", "ms", "GB/s", "% of the bandwidth"],
        rows=rows,
        note=f"The sum of {len(big) >> 18} MiB of float32 reads {rate:.1f} GB/s here, in the same run. What "
        "has to be read are the candidates' vectors, and their rows where they are gathered; a query's own "
        "history is small next to it. Candidates lie anywhere in the catalogue: 256 bytes at a time are read "
        "slower than a whole array, and what is gathered is written and read again.",
    )


def parts_table(options: argparse.Namespace, of: Engine, size: int) -> report.Table:
    """Where the time of a request goes."""
    requests = itertools.cycle(of.requests(size))
    score_head = score_head_of(history=True).to(of.device)
    found = of.features.look_up((first := next(requests)).keys, first.candidates)
    cross = CrossFeatureTensors(*map(torch.from_numpy, found)).to(of.device)
    whole = score_head(first.vector, of.items, first.zeros, first.rows, cross)[:, 0]

    def look_up() -> None:
        request = next(requests)
        of.features.look_up(request.keys, request.candidates)

    def gather() -> None:
        request = next(requests)
        candidate_dots(request.vector, of.items, request.zeros, request.rows)

    def fuse_history() -> None:
        score_head.rest(cross)

    def keep() -> None:
        torch.topk(whole, min(options.keep, size // 2))

    steps = {
        "history looked up": look_up,
        "rows gathered, dot products": gather,
        "history transformed and fused": fuse_history,
        "best kept": keep,
    }
    with torch.inference_mode():
        seconds = 0.01 if options.smoke else 0.5
        took = {name: 1e3 * machine.best_seconds(step, of.device, seconds) for name, step in steps.items()}
    total = sum(took.values())
    return report.Table(
        title=f"Where the time of eager_history goes, {size:,} candidates",
        columns=["part", "ms", "%"],
        rows=[[name, ms, 100 * ms / total] for name, ms in took.items()],
        note="Each part by itself, the shortest of its calls.",
    )


def flops_table(candidates: int, block: int, early: Callable[[int, int], nn.Module]) -> report.Table:
    """Multiplications and additions of matrix products in serving a request, at the reference's sizes."""
    some = 50  # counted, then taken times as many: each candidate needs as much as the next
    sizes: dict[str, Any] = {"dim": DIM, "blocks": BLOCKS, "block_dim": block, "hidden_dims": HIDDEN}
    query, items, vectors = torch.randn(1, QUERY), torch.randn(some, ITEM), torch.randn(some, DIM)
    rows, columns = torch.arange(some), CrossColumns.of(SCHEMA)
    cross = CrossFeatureTensors(
        torch.rand(some, len(columns.rates)),
        torch.ones(1, len(columns.rates)),
        torch.rand(some, len(columns.numbers)),
        torch.ones(some, 2 * len(columns.ratios)),
    )
    score_head = score_head_of(history=True, heads=HEADS, hidden=())
    heads, head = torch.randn(1, HEADS, DIM), torch.randn(1, 1, DIM)

    def tower(width: int, heads: int, x: Tensor) -> int:
        return flops(lambda: mask_net_tower(in_dim=width, heads=heads, **sizes)(x))

    exported, run = "item embeddings exported", "item tower for each candidate"
    score = flops(lambda: score_head(heads, vectors, rows, rows, cross))
    item_tower, query_tower = tower(ITEM, 1, items), tower(QUERY, HEADS, query)
    counted = {  # once for the request, for some candidates
        f"InteractRank, {exported}": (query_tower, score),
        f"two-tower, {exported}": (
            tower(QUERY, 1, query),
            flops(lambda: candidate_dots(head, vectors, rows, rows)),
        ),
        f"InteractRank, {run}": (query_tower, score + item_tower),
        "early interaction": (0, flops(lambda: early(QUERY + ITEM, block)(query, items))),
    }
    total = {name: once + each * candidates / some for name, (once, each) in counted.items()}
    other = total["early interaction"]
    ours, again = (other / total[f"InteractRank, {how}"] for how in (exported, run))
    return report.Table(
        title=f"FLOPs of a request with {candidates:,} candidates",
        columns=["model", "GFLOP", "FLOP a candidate", "times fewer than early interaction"],
        rows=[[name, n / 1e9, n / candidates, other / n] for name, n in total.items()],
        note=f"Early interaction needs {ours:,.0f} times the FLOPs of InteractRank with item embeddings "
        f"exported, {again:.2f} times where the item tower runs for each candidate, too. The paper says "
        f"about {PAPER} times, of its own models. With embeddings exported it is the ratio of a network to "
        "a dot product, and grows with the network: here it has the reference's layers over the features of "
        "both sides. The query tower runs once. Counted by torch's FlopCounterMode: matrix products, without "
        "look-ups, norms and the history's logarithms.",
    )


def flops(step: Callable[[], object]) -> int:
    """FLOPs of the matrix products of a call."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())
