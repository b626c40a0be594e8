"""The jagged sequence modules against the same computation on sequences padded to 100.

    python -m benchmarks.sequence

Forward and backward of a batch of users with 5, 10, 20, 50 and 100 events on average, at most 100. The padded
forms below compute the same numbers from the same weights; that is checked before anything is measured.

Shapes: R requests, T = 100 places, L events of all requests, D event dim.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import report
from benchmarks.harness import Contestant, Group, Script, Step, main
from interactrank.modules import (
    LearnedWeightedPooling,
    QueryCrossAttention,
    RelativeTimeEmbedding,
    SequenceTransformer,
    UserSequenceEmbedder,
)

PLACES, DIM, ACTIONS = 100, 64, 5
MEANS = (5, 10, 20, 50, 100)
TARGETS = {("embedder", 20): 3.0, ("transformer", 20): 3.0}


def lengths(requests: int, mean: int) -> Tensor:
    """[R] lengths from 0 (where the mean allows it) to 100 around ``mean``."""
    random = np.random.default_rng(mean)
    spread = min(mean, PLACES - mean)
    return torch.from_numpy(random.integers(mean - spread, mean + spread + 1, requests))


def inputs(requests: int, mean: int, device: torch.device) -> dict[str, Tensor]:
    """A batch: L events, their actions and ages, and the asking queries."""
    of = lengths(requests, mean)
    total = int(of.sum())
    batch = {
        "events": torch.randn(total, DIM),
        "lengths": of,
        "actions": torch.randint(0, ACTIONS, (total,)),
        "ages": torch.rand(total) * 1000,
        "query": torch.randn(requests, DIM),
    }
    return {name: x.to(device) for name, x in batch.items()}


def pad(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same batch with [R, T] places and a mask."""
    filled = torch.arange(PLACES, device=batch["lengths"].device) < batch["lengths"].unsqueeze(1)
    out = {"filled": filled, "query": batch["query"]}
    for name in ("events", "actions", "ages"):
        x = batch[name]
        out[name] = x.new_zeros(*filled.shape, *x.shape[1:]).masked_scatter(
            filled.view(*filled.shape, *[1] * (x.dim() - 1)).expand(*filled.shape, *x.shape[1:]), x
        )
    return out


def padded_embedder(module: UserSequenceEmbedder, x: dict[str, Tensor]) -> Tensor:
    """Pooling and attention over T places, with the module's weights."""
    assert module.action
    assert module.time
    assert module.pooling
    assert module.attention
    assert module.empty is not None
    filled = x["filled"].unsqueeze(-1)
    events = x["events"] + module.action(x["actions"]) + module.time(x["ages"])
    pooled = (events * module.pooling.weight.unsqueeze(-1) * filled).sum(1) + module.pooling.bias
    asked = module.attention.project(x["query"]).unsqueeze(-1)
    scores = torch.bmm(events, asked).masked_fill(~filled, -1e30) * module.attention.scale
    attended = (scores.softmax(1) * filled * events).sum(1)
    return torch.where(x["filled"].any(1, keepdim=True), torch.cat([pooled, attended], -1), module.empty)


def padded_transformer(module: SequenceTransformer, x: dict[str, Tensor]) -> Tensor:
    """Full attention over T places, with the module's weights; [R, T, D]."""
    h = x["events"] + module.positions.weight
    visible = x["filled"][:, None, None, :]
    for layer in module.layers:
        qkv = layer.qkv(layer.attention_norm(h)).view(*h.shape[:2], 3, layer.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        h = h + layer.out(y.transpose(1, 2).reshape(h.shape))
        h = h + layer.feed(layer.feed_norm(h))
    return module.norm(h)


def embedder(device: torch.device) -> UserSequenceEmbedder:
    module = UserSequenceEmbedder(
        dim=DIM,
        action=nn.Embedding(ACTIONS, DIM),
        time=RelativeTimeEmbedding(dim=DIM),
        pooling=LearnedWeightedPooling(max_len=PLACES),
        attention=QueryCrossAttention(dim=DIM),
    )
    return module.to(device)


def transformer(device: torch.device, window: int) -> SequenceTransformer:
    return SequenceTransformer(dim=DIM, heads=2, layers=1, max_len=PLACES, window=window).to(device)


def step_of(module: nn.Module, run: Callable[[], Tensor], leaves: list[Tensor]) -> Step:
    """Forward and backward."""

    def step() -> None:
        module.zero_grad(set_to_none=True)
        for leaf in leaves:
            leaf.grad = None
        run().square().sum().backward()

    return step


def make(kind: str, padded: bool, requests: int, mean: int, device: torch.device) -> Step:
    """The step of one contestant; ``kind`` is embedder or transformer_<window>."""
    torch.manual_seed(mean)
    batch = inputs(requests, mean, device)
    module = embedder(device) if kind == "embedder" else transformer(device, int(kind.split("_")[1]))
    x = pad(batch) if padded else batch
    leaves = [x["events"].requires_grad_()]
    if isinstance(module, UserSequenceEmbedder):
        leaves.append(x["query"].requires_grad_())
        if padded:
            return step_of(module, lambda: padded_embedder(module, x), leaves)
        return step_of(module, lambda: module(**x), leaves)
    if padded:
        return step_of(module, lambda: padded_transformer(module, x)[x["filled"]], leaves)
    return step_of(module, lambda: module(x["events"], x["lengths"]), leaves)


def check(requests: int, device: torch.device) -> None:
    """Jagged and padded give the same numbers."""
    with torch.no_grad():
        batch = inputs(requests, 10, device)
        x, one, two = pad(batch), embedder(device), transformer(device, PLACES)
        torch.testing.assert_close(one(**batch), padded_embedder(one, x))
        ours, theirs = two(batch["events"], batch["lengths"]), padded_transformer(two, x)[x["filled"]]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each module and mean length."""
    device = torch.device(options.device)
    requests = 8 if options.smoke else options.requests
    if not options.memory_of:
        check(requests, device)
    kinds = {"embedder": ["embedder"], "transformer": ["transformer_100", "transformer_32"]}
    for name, variants in kinds.items():
        for mean in MEANS[1:3] if options.smoke else MEANS:
            events = int(lengths(requests, mean).sum())
            target = TARGETS.get((name, mean))
            pairs = [("padded", variants[0], True), *((f"jagged_{v}", v, False) for v in variants)]
            contestants = [
                Contestant(
                    label,
                    lambda v=variant, p=padded, m=mean: make(v, p, requests, m, device),
                    events,
                    target=None if padded else target,
                )
                for label, variant, padded in pairs
            ]
            settings = {"module": name, "mean_length": mean, "requests": requests, "events": events}
            yield Group(f"{name}_{mean}_of_{PLACES}", contestants, "events", settings)


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Cost against the sum of real lengths: a line through the medians."""
    rows: list[list[Any]] = []
    for name in dict.fromkeys(r["contestant"] for r in result["results"]):
        for module in dict.fromkeys(r["module"] for r in result["results"] if r["contestant"] == name):
            found = [r for r in result["results"] if (r["contestant"], r["module"]) == (name, module)]
            x = np.array([r["events"] for r in found], dtype=float)
            y = np.array([r["cpu_runtime_p50_ms"] for r in found])
            slope, start = np.polyfit(x, y, 1)
            left = float(((y - slope * x - start) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-12))
            rows.append([module, name, 1e3 * float(slope), float(start), 1 - left])
    return [
        report.Table(
            title="Cost against the number of real events",
            columns=["module", "contestant", "us per event", "ms without events", "R squared"],
            rows=rows,
            note="Least squares through the medians. The padded form costs the same at every mean length.",
        )
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--requests", type=int, default=512, help="R, users in a batch")


SCRIPT = Script(
    name="sequence",
    question="What does a user's history cost, jagged and padded to 100 events, by its real length?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    memory=False,
    x_axis="events",
    series="module",
)

if __name__ == "__main__":
    main(SCRIPT)
