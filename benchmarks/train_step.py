"""Forward, backward and optimizer step at the reference's layer sizes, against a step that works row by row.

    python -m benchmarks.train_step --reference PATH/reference_step.py

Query features 494 columns, item features 620, parallel MaskNet 4 x 2048 with masks of rank 10 %, dense 512
and 256, 3 heads x 64 against 64, focal loss + 0.01 x sampled softmax, Adam, gradient clipped at 5. The
yardstick computes both towers for every candidate; its towers are read from ``--reference`` if given, else
they are :class:`RowTower` below, which does the same.

Shapes: C candidates, R requests, I distinct items, H heads, D embedding dim.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import machine, report
from benchmarks.breakdown import where_time_goes
from benchmarks.harness import Contestant, Group, Script, Step, main
from interactrank.modules import (
    CrossInteraction,
    HeadWeighting,
    SampledSoftmax,
    Temperature,
    binary_focal_loss,
    candidate_dots,
    mask_net_tower,
)
from interactrank.training.optimizers import dense_optimizer
from interactrank.training.settings import DenseOptimizer

QUERY, ITEM, BLOCKS, BLOCK, HIDDEN, HEADS, DIM = 494, 620, 4, 2048, (512, 256), 3, 64
HEAD_WEIGHTS = [20.0, 7.0, 20.0]
SIZES = {"query": QUERY, "item": ITEM, "block": BLOCK}
TINY = {"query": 40, "item": 50, "block": 32}
COMPILED = 500  # candidates of the step that is compiled, too: compiling takes far longer than measuring
# group -> candidates per request, candidates per distinct item, targets in float32 and bf16
LAYOUTS = {"flat": (1, 1, 1.2, 2.5), "grouped_20_4": (20, 4, 5.0, 10.0), "grouped_20_1": (20, 1, 2.0, 4.0)}


class RowTower(nn.Module):
    """A tower as one would write it first: a loop over the mask blocks."""

    def __init__(self, n: int, block: int, heads: int) -> None:
        super().__init__()
        rank = max(1, int(0.1 * n))
        self.norm = nn.LayerNorm(n)
        self.masks = nn.ModuleList(
            nn.Sequential(nn.Linear(n, rank), nn.ReLU(), nn.Linear(rank, n)) for _ in range(BLOCKS)
        )
        self.outs = nn.ModuleList(
            nn.Sequential(nn.Linear(n, block, bias=False), nn.LayerNorm(block), nn.ReLU(), nn.Dropout(0.005))
            for _ in range(BLOCKS)
        )
        layers: list[nn.Module] = []
        width = BLOCKS * block
        for hidden in HIDDEN:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.LayerNorm(hidden)]
            width = hidden
        self.dense = nn.Sequential(*layers, nn.Linear(width, heads * DIM))

    def forward(self, x: Tensor) -> Tensor:
        """[B, n] -> [B, heads, D]."""
        x = self.norm(x)
        blocks = [out(mask(x) * x) for mask, out in zip(self.masks, self.outs, strict=True)]
        return F.normalize(self.dense(torch.cat(blocks, -1)).view(len(x), -1, DIM), dim=-1)


def yardstick(rows: int, sizes: dict[str, int], reference: Path | None) -> Step:
    """The step that computes every row of both towers."""
    tower: Callable[..., nn.Module] = _load(reference).Tower if reference else RowTower
    query, item = tower(sizes["query"], sizes["block"], HEADS), tower(sizes["item"], sizes["block"], 1)
    cross = nn.Linear(3, 1)
    nn.init.ones_(cross.weight)
    tau = nn.Parameter(torch.zeros(()))
    parameters = [*query.parameters(), *item.parameters(), *cross.parameters(), tau]
    optimizer = torch.optim.Adam(parameters, lr=6e-4)
    xq, xi, xc = torch.randn(rows, sizes["query"]), torch.randn(rows, sizes["item"]), torch.rand(rows, 2)
    labels, weights = (torch.rand(rows, HEADS) < 0.5).float(), torch.rand(rows, 1) * 20
    ids = torch.randint(0, max(1, rows * 156 // 500), (rows,))
    head_weights = torch.tensor(HEAD_WEIGHTS) / sum(HEAD_WEIGHTS)

    def step() -> None:
        q, i = query(xq), item(xi)[:, 0]
        dot = (q * i[:, None]).sum(-1)
        score = cross(torch.cat([xc[:, None].expand(-1, HEADS, -1), dot[..., None]], -1)).squeeze(-1)
        bce = F.binary_cross_entropy_with_logits(score, labels, reduction="none")
        main_loss = ((bce * (1 - torch.exp(-bce)) ** 2 * weights).mean(0) * head_weights).sum()
        distinct, inverse, count = torch.unique(ids, return_inverse=True, return_counts=True)
        negatives = torch.zeros(len(distinct), DIM).index_add(0, inverse, i) / count[:, None]
        positive = labels.t().bool()
        qp = q.transpose(0, 1)[positive]
        ip, idp = i.expand(HEADS, -1, -1)[positive], ids.expand(HEADS, -1)[positive]
        logits = (qp @ negatives.t() * tau.exp()).masked_fill(idp[:, None] == distinct[None], float("-inf"))
        logits = torch.cat([((qp * ip).sum(-1) * tau.exp())[:, None], logits], 1)
        target = torch.zeros(len(logits), dtype=torch.long)
        loss = main_loss + 0.01 * F.cross_entropy(logits, target, reduction="sum") / HEADS / rows
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()

    return step


class Towers(nn.Module):
    """InteractRank without its tables: towers, cross interaction, losses."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        options: dict[str, Any] = {"block_dim": sizes["block"], "hidden_dims": HIDDEN, "dropout": 0.005}
        self.query = mask_net_tower(in_dim=sizes["query"], heads=HEADS, dim=DIM, **options)
        self.item = mask_net_tower(in_dim=sizes["item"], heads=1, dim=DIM, **options)
        self.cross = CrossInteraction(heads=HEADS, features=2, missing="zero")
        self.heads = HeadWeighting(weights=HEAD_WEIGHTS)
        self.in_batch = SampledSoftmax(temperature=Temperature(), across_ranks=False)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch."""
        q, i = self.query(batch["query"]), self.item(batch["item"]).squeeze(1)
        pairs = batch["candidate_request"], batch["candidate_item"]
        score = self.cross(candidate_dots(q, i, *pairs), batch["cross"])
        loss = self.heads(binary_focal_loss(score, batch["labels"], batch["weights"]))
        softmax = self.in_batch(q, i, batch["item_ids"], *pairs, batch["labels"])
        return loss + 0.01 * self.heads(softmax)


def grouped_batch(
    candidates: int, per_request: int, per_item: int, sizes: dict[str, int], device: torch.device
) -> dict[str, Tensor]:
    """C candidates of C / per_request requests, drawn from C / per_item distinct items."""
    requests, items = candidates // per_request, candidates // per_item
    batch = {
        "query": torch.randn(requests, sizes["query"]),
        "item": torch.randn(items, sizes["item"]),
        "item_ids": torch.randperm(items),
        "candidate_request": torch.arange(candidates) // per_request,
        "candidate_item": torch.arange(candidates) % items,
        "cross": torch.rand(candidates, 2),
        "labels": (torch.rand(candidates, HEADS) < 0.5).float(),
        "weights": torch.rand(candidates, 1) * 20,
    }
    return {name: value.to(device) for name, value in batch.items()}


def ours(
    candidates: int,
    per_request: int,
    per_item: int,
    sizes: dict[str, int],
    device: torch.device,
    *,
    bf16: bool = False,
    compiled: bool = False,
) -> Step:
    """The step of the library's modules with the trainer's own clipping and optimizer."""
    model = Towers(sizes).to(device)
    forward: Callable[..., Tensor] = torch.compile(model) if compiled else model
    batch = grouped_batch(candidates, per_request, per_item, sizes, device)
    parameters = list(model.parameters())
    optimizer = dense_optimizer(parameters, DenseOptimizer(lr=6e-4))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = forward(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()

    return step


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each layout and number of candidates; bf16 has groups of its own."""
    device = torch.device(options.device)
    emulated = device.type == "cpu" and not machine.cpu_flags().intersection(machine.BF16_FLAGS)
    sizes = [40] if options.smoke else options.candidates
    if odd := [size for size in sizes if size % 20]:
        raise SystemExit(f"--candidates: {odd} are not multiples of the 20 candidates of a request")
    for candidates in sizes:
        compiled = not (options.smoke or options.eager) and candidates == COMPILED
        for name in LAYOUTS:
            yield _group(options, name, candidates, bf16=False, compiled=compiled)
    # Where bf16 is emulated a step takes minutes: fewer candidates and rounds say as much.
    for candidates in [min(100, *sizes)] if emulated else sizes:
        for name in LAYOUTS:
            yield _group(options, name, candidates, bf16=True, rounds=2 if emulated else None)


def _group(
    options: argparse.Namespace,
    name: str,
    candidates: int,
    *,
    bf16: bool,
    compiled: bool = False,
    rounds: int | None = None,
) -> Group:
    device, sizes = torch.device(options.device), TINY if options.smoke else SIZES
    reference = None if options.smoke else options.reference
    per_request, per_item, in_float32, in_bf16 = LAYOUTS[name]
    of = (candidates, per_request, per_item, sizes, device)
    base = Contestant(
        "yardstick", lambda: on_device(lambda: yardstick(candidates, sizes, reference), device), candidates
    )
    contestants = [
        Contestant(
            f"{'bf16' if bf16 else 'float32'}{'_compiled' if c else ''}",
            lambda c=c: ours(*of, bf16=bf16, compiled=c),
            candidates,
            target=in_bf16 if bf16 else in_float32,
            memory_target=1.0,
        )
        for c in ([False, True] if compiled else [False])
    ]
    layout = f"{name}{'_bf16' if bf16 else ''}"
    settings = {"layout": layout, "candidates": candidates, "per_request": per_request, "per_item": per_item}
    label = f"{name}_{candidates}{'_bf16' if bf16 else ''}"
    return Group(label, [base, *contestants], "candidates", settings, rounds)


def on_device(make: Callable[[], Step], device: torch.device) -> Step:
    """What ``make`` builds, with tensors made on ``device`` by default, also while it runs."""
    with torch.device(device):
        step = make()

    def run() -> None:
        with torch.device(device):
            step()

    return run if device.type != "cpu" else step


def shapes(rows: dict[str, int], sizes: dict[str, int]) -> list[tuple[int, int, int]]:
    """(m, k, n) of all matrix products of a step, forward and backward, of the two towers."""
    found = []
    for side, heads in (("query", HEADS), ("item", 1)):
        n = sizes[side]
        rank = max(1, int(0.1 * n))
        layers = [(n, BLOCKS * rank), *[(rank, n)] * BLOCKS, *[(n, sizes["block"])] * BLOCKS]
        widths = [BLOCKS * sizes["block"], *HIDDEN, heads * DIM]
        layers += list(itertools.pairwise(widths))
        for k, o in layers:
            found += [(rows[side], k, o), (rows[side], o, k), (k, rows[side], o)]
    return found


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Matmul rates, distance from them, and where the time of a step goes."""
    device, sizes = torch.device(options.device), TINY if options.smoke else SIZES
    one_thread = device.type == "cpu" and options.threads == 1  # CPU time: less disturbed by others
    square = [(1024, 1024, 1024)] if not options.smoke else [(64, 64, 64)]
    rates = {str(t).removeprefix("torch."): machine.matmul_rates(square, t, device) for t in _TYPES}
    ratio = rates["bfloat16"] / rates["float32"]
    out = [
        report.Table(
            title="Matrix products of 1024 x 1024",
            columns=["type", "GFLOP/s"],
            rows=[[name, rate] for name, rate in rates.items()],
            note=f"bf16 runs at {ratio:.2f} times the float32 rate here, in the same run. "
            + ("Autocast to bf16 cannot pay where this is below 1." if ratio < 1 else ""),
        )
    ]
    if options.reference and not options.smoke:
        out.append(_reference_itself(options, options.candidates[0]))
    limits: list[list[Any]] = []
    rows_in_float32 = [r for r in result["results"] if not r["group"].endswith("_bf16")]
    for row in rows_in_float32:
        if row["contestant"] not in ("yardstick", "float32"):
            continue
        c = row["candidates"]
        rows = {"query": c // row["per_request"], "item": c // row["per_item"]}
        of = shapes({"query": c, "item": c} if row["contestant"] == "yardstick" else rows, sizes)
        work = sum(2 * m * k * n for m, k, n in of) / 1e9
        rate = machine.matmul_rates(of, torch.float32, device)
        took = row["cpu_time_p50_ms" if one_thread else "cpu_runtime_p50_ms"]
        limits.append([row["group"], row["contestant"], work, rate, took, 100e3 * work / rate / took])
    out.append(
        report.Table(
            title="Distance from the matmul rate, float32",
            columns=["group", "contestant", "GFLOP", "GFLOP/s of these shapes", "step ms", "% of the limit"],
            rows=limits,
            note="The limit is a step that does nothing but its matrix products, each at the rate that the "
            "same shapes reach alone, one after the other.",
        )
    )
    smallest = min((row["candidates"] for row in rows_in_float32), default=0)
    for name in dict.fromkeys(r["group"] for r in rows_in_float32 if r["candidates"] == smallest):
        row = next(r for r in result["results"] if r["group"] == name)
        step = ours(row["candidates"], row["per_request"], row["per_item"], sizes, device)
        base = yardstick(row["candidates"], sizes, None if options.smoke else options.reference)
        out.append(where_time_goes(name, {"float32": step, "yardstick": base}, device, steps_each=2))
    return out


def _reference_itself(options: argparse.Namespace, candidates: int) -> report.Table:
    """The reference's own script in its own process, next to the yardstick that is built from its towers."""
    command = [sys.executable, str(options.reference), "--batch-size", str(candidates), "--steps", "7"]
    command += ["--threads", str(options.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    columns = ["batch_size", "threads", "step_ms_p50", "examples_per_s_p50"]
    return report.Table(
        title="The reference's script by itself",
        columns=columns,
        rows=[[found[c] for c in columns]],
        note="To be compared with the yardstick above: the same towers and the same step.",
    )


_TYPES = (torch.float32, torch.bfloat16)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--reference", type=Path, help="the public reference's step, a Python file")
    parser.add_argument("--candidates", type=int, nargs="+", default=[100, 500, 2000], help="multiples of 20")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("reference_step", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"--reference: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = Script(
    name="train_step",
    question="How many candidates a second does a training step take, flat and grouped by request?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    x_axis="candidates",
    series="layout",
)

if __name__ == "__main__":
    main(SCRIPT)
