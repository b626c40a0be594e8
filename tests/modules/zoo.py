"""Every public module and loss at a small size, with inputs for any number of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interactrank.modules import (
    MLP,
    CountSmoothing,
    CrossCorrection,
    CrossInteraction,
    DCNv2,
    DenseLayer,
    DenseVectorNorm,
    FeatureConcat,
    GroupSummary,
    HeadRule,
    HeadWeighting,
    LearnedWeightedPooling,
    ListwiseSoftmax,
    LogQ,
    LowRankLinear,
    NumericNorm,
    NumericStats,
    ParallelMaskNet,
    PositionBias,
    PositiveWeight,
    PriorityLabels,
    QueryCrossAttention,
    RatioSmoothing,
    RelativeTimeEmbedding,
    SampledSoftmax,
    SequenceTransformer,
    Temperature,
    Tower,
    UserSequenceEmbedder,
    WeightedBatchNorm,
    binary_focal_loss,
    candidate_dots,
    mask_net_tower,
    metamodel_score,
    mix_heads,
    normalize_heads,
    weighted_bce,
)
from interactrank.modules.losses import (
    AccidentalHits,
    CountMinSketch,
    HardNegativeMining,
    Negatives,
    global_mean,
    log_batch_probability,
    mean_over_positive,
    merge_duplicates,
)


class Function(nn.Module):
    """A function as a module, for the tools that take modules only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, **kwargs: Any) -> Any:
        return self.function(**kwargs)


@dataclass(frozen=True)
class Entry:
    """``build()`` gives the module, ``inputs(rows)`` its keyword arguments."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], dict[str, Any]]


def floats(*shape: int) -> Tensor:
    return torch.randn(*shape).requires_grad_()


def requests(rows: int) -> dict[str, Any]:
    """Jagged inputs: request r has r % 4 events (or candidates), so some have none."""
    lengths = torch.arange(rows) % 4
    return {"lengths": lengths, "total": int(lengths.sum())}


def sequence(rows: int, dim: int = 4, **extra: Callable[[int, int], Tensor]) -> dict[str, Any]:
    jagged = requests(rows)
    out = {"events": floats(jagged["total"], dim), "lengths": jagged["lengths"]}
    return out | {name: make(rows, jagged["total"]) for name, make in extra.items()}


def query(rows: int, total: int) -> Tensor:
    return floats(rows, 4)


def sampled(rows: int, **extra: Callable[[int], Tensor]) -> dict[str, Any]:
    jagged = requests(rows)
    total, items = jagged["total"], max(jagged["total"], 1)
    request = torch.repeat_interleave(torch.arange(rows), jagged["lengths"])
    return {
        "query": floats(rows, 2, 4),
        "item": floats(items, 4),
        "item_ids": torch.arange(items) % 5 * 1000 - 7,
        "candidate_request": request,
        "candidate_item": torch.arange(total),
        "labels": (torch.arange(total * 2).view(total, 2) % 3 == 0).float(),
    }


def masked(rows: int) -> dict[str, Any]:
    jagged = requests(rows)
    batch = Negatives(
        logits=floats(rows, 2, 5),
        counts=torch.tensor([1.0, 2.0, 1.0, 1.0, 0.0]),
        candidate_request=torch.repeat_interleave(torch.arange(rows), jagged["lengths"]),
        candidate_slot=torch.arange(jagged["total"]) % 4,
        positive=(torch.arange(jagged["total"] * 2) % 3 == 0).view(-1, 2),
    )
    return {"batch": batch, "masked": torch.tensor([False] * 4 + [True]).view(1, 1, 5)}


def listwise(rows: int) -> dict[str, Any]:
    jagged = requests(rows)
    total = jagged["total"]
    return {
        "scores": floats(total, 2),
        "labels": (torch.arange(total * 2).view(total, 2) % 3 == 0).float(),
        "candidate_lengths": jagged["lengths"],
        "weights": torch.rand(total) + 0.5,
        "log_sampling": torch.randn(total),
    }


STATS = {
    "clicks": NumericStats(minimum=0.0, maximum=50.0, mean=5.0, std=4.0),
    "constant": NumericStats(minimum=1.0, maximum=1.0, mean=1.0, std=0.0),
    "score": NumericStats(minimum=-1.0, maximum=1.0, mean=0.1, std=0.5),
}


def numbers(rows: int) -> dict[str, Any]:
    x = torch.randn(rows, 3) * 10
    x[::3, 0] = torch.nan
    return {"x": x.requires_grad_(), "row_weights": torch.rand(rows) + 0.5}


def cross(rows: int) -> dict[str, Any]:
    missing = torch.arange(rows * 3).view(rows, 3) % 2 == 0
    return {"dots": floats(rows, 2), "cross": floats(rows, 3), "missing": missing}


def history(rows: int) -> dict[str, Any]:
    support = (torch.arange(rows * 2).view(rows, 2) % 3).float() * 10
    return {"rate": torch.rand(rows, 2) * (support > 0), "support": support}


def embedder() -> nn.Module:
    return UserSequenceEmbedder(
        dim=4,
        action=nn.Embedding(3, 4),
        time=RelativeTimeEmbedding(dim=4),
        encoder=SequenceTransformer(dim=4, window=2),
        pooling=LearnedWeightedPooling(max_len=3),
        attention=QueryCrossAttention(dim=4),
    )


def labels() -> nn.Module:
    return PriorityLabels(
        columns=["click", "save", "bounce"],
        heads={
            "any": HeadRule(any_of=["click", "save"], unless=["bounce"]),
            "save": HeadRule(any_of=["save"]),
        },
        priorities=[("save", 7.0), ("click", 1.0)],
    )


def elements(rows: int) -> dict[str, Any]:
    return {
        "logits": floats(rows, 2),
        "labels": (torch.rand(rows, 2) > 0.5).float(),
        "weights": torch.rand(rows, 1),
    }


def dots(rows: int) -> dict[str, Any]:
    return {
        "query": floats(3, 2, 4),
        "item": floats(2, 4),
        "candidate_request": torch.arange(rows) % 3,
        "candidate_item": torch.arange(rows) % 2,
    }


def x(dim: int) -> Callable[[int], dict[str, Any]]:
    return lambda rows: {"x": floats(rows, dim)}


def named(**dims: int) -> Callable[[int], dict[str, Any]]:
    return lambda rows: {"features": {name: floats(rows, dim) for name, dim in dims.items()}}


ZOO: dict[str, Entry] = {
    "LowRankLinear": Entry(lambda: LowRankLinear(in_dim=6, out_dim=4, rank=2), x(6)),
    "DenseLayer": Entry(lambda: DenseLayer(in_dim=6, hidden_dim=4, skip=True), x(6)),
    "PositiveWeight": Entry(lambda: PositiveWeight(size=2, initial=0.5), lambda rows: {}),
    "MLP": Entry(lambda: MLP(in_dim=6, hidden_dims=[8, 8], out_dim=3, low_ranks=[2, None], skip=True), x(6)),
    "MLP norm first": Entry(lambda: MLP(in_dim=6, hidden_dims=[8], out_dim=None, norm_first=True), x(6)),
    "ParallelMaskNet": Entry(lambda: ParallelMaskNet(in_dim=20, blocks=3, block_dim=8), x(20)),
    "DCNv2": Entry(lambda: DCNv2(in_dim=6, layers=2), x(6)),
    "DCNv2 low rank": Entry(lambda: DCNv2(in_dim=6, layers=2, low_rank=2), x(6)),
    "DCNv2 experts": Entry(lambda: DCNv2(in_dim=6, layers=2, low_rank=2, experts=2), x(6)),
    "mask_net_tower": Entry(
        lambda: mask_net_tower(in_dim=6, heads=2, dim=4, block_dim=8, hidden_dims=[8]), x(6)
    ),
    "Tower": Entry(
        lambda: Tower(
            crossing=DCNv2(in_dim=6, layers=1),
            mlp=MLP(in_dim=6, hidden_dims=[5], out_dim=8),
            heads=2,
            dim=4,
            residual=True,
        ),
        x(6),
    ),
    "FeatureConcat": Entry(lambda: FeatureConcat(dims={"b": 2, "a": 1}), named(a=1, b=2)),
    "DenseVectorNorm": Entry(lambda: DenseVectorNorm(dims={"i.v": 4}), named(**{"i.v": 4, "other": 2})),
    "GroupSummary": Entry(
        lambda: GroupSummary(groups={"g": ["a", "b"]}, dims={"a": 1, "b": 2}, out_dims={"g": 4}),
        named(a=1, b=2, c=3),
    ),
    "NumericNorm": Entry(lambda: NumericNorm(stats=STATS), numbers),
    "NumericNorm batch": Entry(lambda: NumericNorm(stats=STATS, inner="batch", outer="batch"), numbers),
    "NumericNorm log": Entry(lambda: NumericNorm(stats=STATS, mixture=False, inner="layer"), numbers),
    "WeightedBatchNorm": Entry(
        lambda: WeightedBatchNorm(features=3),
        lambda rows: {"x": floats(rows, 3), "row_weights": torch.rand(rows) + 0.5},
    ),
    "CountSmoothing": Entry(
        lambda: CountSmoothing(features=2, transforms=["rate", "log_count", "smoothed", "log_smoothed"]),
        history,
    ),
    "RatioSmoothing": Entry(
        lambda: RatioSmoothing(wider=[-1, 0, 1], bases=[0.2] * 3),
        lambda rows: {"engaged": torch.rand(rows, 3) * 5, "shown": torch.rand(rows, 3) * 20},
    ),
    "PositionBias": Entry(
        lambda: PositionBias(positions=4), lambda rows: {"position": torch.arange(rows) % 7}
    ),
    "CrossCorrection": Entry(
        lambda: CrossCorrection(features=3, heads=2, hidden_dims=[4], context=2),
        lambda rows: {
            "cross": floats(rows, 3),
            "missing": torch.rand(rows, 3) > 0.5,
            "context": floats(rows, 2),
        },
    ),
    "CrossInteraction": Entry(lambda: CrossInteraction(heads=2, features=3, shared=False), cross),
    "CrossInteraction average": Entry(
        lambda: CrossInteraction(heads=2, features=3, missing="average"), cross
    ),
    "CrossInteraction zero": Entry(lambda: CrossInteraction(heads=2, features=3, missing="zero"), cross),
    "RelativeTimeEmbedding": Entry(
        lambda: RelativeTimeEmbedding(dim=4), lambda rows: {"ages": torch.rand(rows) * 1e4}
    ),
    "LearnedWeightedPooling": Entry(lambda: LearnedWeightedPooling(max_len=2), sequence),
    "LearnedWeightedPooling normalized": Entry(
        lambda: LearnedWeightedPooling(max_len=3, normalized=True), sequence
    ),
    "QueryCrossAttention": Entry(
        lambda: QueryCrossAttention(dim=4), lambda rows: sequence(rows, query=query)
    ),
    "SequenceTransformer": Entry(lambda: SequenceTransformer(dim=4, window=2, layers=2), sequence),
    "UserSequenceEmbedder": Entry(
        embedder,
        lambda rows: sequence(
            rows,
            actions=lambda r, total: torch.arange(total) % 3,
            ages=lambda r, total: torch.rand(total) * 1e3,
            query=query,
        ),
    ),
    "candidate_dots": Entry(lambda: Function(candidate_dots), dots),
    "mix_heads": Entry(
        lambda: Function(mix_heads),
        lambda rows: {"query": floats(rows, 3, 4), "head_weights": torch.arange(rows * 3).view(rows, 3) % 2},
    ),
    "metamodel_score": Entry(
        lambda: Function(metamodel_score),
        lambda rows: {"probabilities": floats(rows, 2), "head_weights": torch.tensor([1.0, 0.5])},
    ),
    "normalize_heads": Entry(lambda: Function(lambda x: normalize_heads(x, heads=2)), x(6)),
    "weighted_bce": Entry(lambda: Function(weighted_bce), elements),
    "binary_focal_loss": Entry(lambda: Function(binary_focal_loss), elements),
    "PriorityLabels": Entry(labels, lambda rows: {"engagements": torch.arange(rows * 3).view(rows, 3) % 2}),
    "HeadWeighting": Entry(
        lambda: HeadWeighting(weights=[20.0, 7.0]), lambda rows: {"losses": floats(rows, 2)}
    ),
    "Temperature": Entry(lambda: Temperature(initial=0.1), lambda rows: {}),
    "merge_duplicates": Entry(
        lambda: Function(merge_duplicates),
        lambda rows: {"ids": torch.arange(rows) % 3, "vectors": floats(rows, 4)},
    ),
    "AccidentalHits": Entry(AccidentalHits, masked),
    "HardNegativeMining": Entry(lambda: HardNegativeMining(count=2), masked),
    "global_mean": Entry(lambda: Function(global_mean), lambda rows: {"values": floats(rows, 2)}),
    "mean_over_positive": Entry(
        lambda: Function(mean_over_positive),
        lambda rows: {"losses": floats(rows, 2), "positive": torch.arange(rows * 2).view(rows, 2) % 3 == 0},
    ),
    "log_batch_probability": Entry(
        lambda: Function(lambda counts: log_batch_probability(counts, torch.tensor(50), 10)),
        lambda rows: {"counts": torch.arange(rows)},
    ),
    "CountMinSketch": Entry(lambda: CountMinSketch(width=64), lambda rows: {"ids": torch.arange(rows)}),
    "LogQ": Entry(
        lambda: LogQ(sketch=CountMinSketch(width=64)),
        lambda rows: {"ids": torch.arange(rows), "present": torch.arange(rows) % 2 == 0},
    ),
    "SampledSoftmax": Entry(
        lambda: SampledSoftmax(
            temperature=Temperature(initial=0.1), log_q=LogQ(sketch=CountMinSketch(width=64))
        ),
        sampled,
    ),
    "SampledSoftmax hard negatives": Entry(
        lambda: SampledSoftmax(
            temperature=Temperature(), masks=[AccidentalHits(), HardNegativeMining(count=2)]
        ),
        sampled,
    ),
    "ListwiseSoftmax": Entry(ListwiseSoftmax, listwise),
}


def leaves(value: Any) -> list[Tensor]:
    """Float tensors inside nested results or inputs."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, dict):
        return [leaf for v in value.values() for leaf in leaves(v)]
    if isinstance(value, (tuple, list)):
        return [leaf for v in value for leaf in leaves(v)]
    return []
