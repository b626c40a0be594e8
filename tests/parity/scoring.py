"""Adapters of the score: cross-interaction layer, heads, serving."""

from __future__ import annotations

import torch
from torch import Tensor

from interactrank.modules import CrossInteraction, candidate_dots, metamodel_score, mix_heads
from tests.parity.case import Case, Skipped


class Projection:
    """Our layer loaded with a case's projection; the dot weight's gradient is read where it is positive."""

    def __init__(self, case: Case, heads: int, missing: str = "learned") -> None:
        if bool((case["w.proj.weight"][:, -1] <= 0).any()):
            raise Skipped("ours refuses a weight of the dot product that is not positive")
        self.layer = CrossInteraction.from_projection(
            weight=case["w.proj.weight"], bias=case["w.proj.bias"], heads=heads, missing=missing
        )
        self.layer.dot_weight.register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: tuple[Tensor, ...], weight: Tensor) -> None:
        weight.retain_grad()
        self.dot_weight = weight

    def gradients(self, prefix: str) -> dict[str, Tensor]:
        parts = [self.layer.cross_weight.grad, self.dot_weight.grad.unsqueeze(-1)]
        return {f"{prefix}.weight": torch.cat(parts, dim=-1), f"{prefix}.bias": self.layer.bias.grad}


def cross_layer(case: Case) -> dict[str, Tensor]:
    p = case.params
    order = p["order_in_weight"][:-1]
    imputed = p.get("imputed")
    dots = case.input("dot") if case["in.dot"].dim() == 2 else case.input("dot").unsqueeze(1)
    projection = Projection(case, dots.shape[1], "learned" if imputed is None else "average")
    cross = torch.stack([case.input(name) for name in order], dim=1)
    missing = None
    if imputed is not None:
        missing = (cross == 0) & torch.tensor([name in imputed for name in order])
        names = [name for name in case.tensors if name.startswith("out.imputed.")]
        case.leave_out("ours never edits the caller's tensors", *names)
    before = cross.detach().clone()
    y = projection.layer(dots, cross, missing)
    assert torch.equal(cross, before), "the caller's tensor was edited"
    values = {"out.y": y}
    if "out.init_weight" in case:
        weight, _ = CrossInteraction(heads=1, features=len(order)).projection()
        values["out.init_weight"] = weight
    if "out.y_batch1" in case:
        single = projection.layer(dots[:1].detach(), cross[:1].detach())
        assert single.shape == (1, dots.shape[1]), "a batch of one must keep its shape"
        values["out.y_batch1"] = single
    if "in.cot" in case:
        projection.layer.zero_grad()
        values |= case.with_cotangent(projection.layer(dots, cross, missing))
        values |= projection.gradients("grad.w.proj")
    return values


def final_scores(case: Case) -> dict[str, Tensor]:
    heads = case.params["heads"]
    projection = Projection(case, heads)
    query = case.input("query_emb").unflatten(1, (heads, -1))
    own = torch.arange(query.shape[0])
    names = sorted(name for name in case.names("in.") if name.startswith("4/"))
    cross = torch.stack([case.input(name) for name in names], dim=1)
    y = projection.layer(candidate_dots(query, case.input("item_emb"), own, own), cross)
    values = {"out.query_heads": query, "out.probability": y.sigmoid()}
    return values | case.with_cotangent(y) | projection.gradients("grad.w.proj")


def multi_head_context_tower(case: Case) -> dict[str, Tensor]:
    query = case.input("tower_out").unflatten(1, (case.params["heads"], -1))
    weights = case["in.head_weights"]
    before = weights.clone()
    y = mix_heads(query, weights)
    assert torch.equal(weights, before), "the caller's weights were edited"
    return case.with_cotangent(y)


def metamodel(case: Case) -> dict[str, Tensor]:
    heads = [name for name in case.names("in.") if not name.startswith("weights")]
    order = ["engagement", "repin", "longclick"]
    probabilities = torch.stack([case[f"in.{name}"] for name in sorted(heads, key=order.index)], dim=1)
    return {
        f"out.score{i}": metamodel_score(probabilities, case[f"in.weights{i}"])
        for i in case.names("in.weights")
    }


ADAPTERS = {
    "cross_layer": cross_layer,
    "final_scores": final_scores,
    "multi_head_context_tower": multi_head_context_tower,
    "metamodel_score": metamodel,
}
