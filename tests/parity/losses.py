"""Adapters of labels and losses."""

from __future__ import annotations

import torch
from torch import Tensor

from interactrank.modules import candidate_dots
from interactrank.modules.losses import (
    CountMinSketch,
    HeadRule,
    HeadWeighting,
    PriorityLabels,
    SampledSoftmax,
    Temperature,
    binary_focal_loss,
    log_batch_probability,
    merge_duplicates,
    weighted_bce,
)
from tests.parity.case import Case
from tests.parity.scoring import Projection

SATURATED = "true probability under 1e-11: ours is a log-softmax that keeps the gradient"
COLUMN = {  # batch column -> engagement
    "5/is_repin": "repin",
    "5/is_longlick": "longclick",
    "5/is_longlick_5s": "longclick_5s",
    "5/save_to_device": "save_to_device",
    "5/click": "click",
    "5/closeup": "closeup",
    "5/impression": "impression",
    "5/short_click_5sec": "short_click_5s",
}
ENGAGED = ["repin", "longclick", "save_to_device", "click", "closeup"]
PRIORITIES = [
    ("longclick", 20.0),
    ("longclick_5s", 20.0),
    ("save_to_device", 7.0),
    ("repin", 7.0),
    ("short_click_5s", 20.0),
    ("click", 1.0),
    ("closeup", 0.5),
    ("impression", 5.0),
]


def reference_labels(columns: list[str]) -> PriorityLabels:
    """The reference's rules, as far as the columns are there."""

    def here(names: list[str]) -> list[str]:
        return [name for name in names if name in columns]

    return PriorityLabels(
        columns=columns,
        heads={
            "engagement": HeadRule(any_of=here(ENGAGED), unless=here(["short_click_5s"])),
            "repin": HeadRule(any_of=here(["repin"])),
            "longclick": HeadRule(any_of=here(["longclick"])),
        },
        priorities=[(name, weight) for name, weight in PRIORITIES if name in columns],
        default_weight=1.0,
    )


def label_extractor(case: Case) -> dict[str, Tensor]:
    rule = reference_labels(case.params["columns"])
    labels, weights = rule(case["in.columns"])
    names = ("out.relevance_labels", "out.relevance_weights")
    case.leave_out("always 0 in the reference, which never fills them", *names)
    return {"out.labels": labels, "out.weights": weights.unsqueeze(1).expand_as(labels)}


def focal(case: Case) -> dict[str, Tensor]:
    logits, labels, weights = case.input("logits"), case["in.labels"], case["in.weights"]
    y = binary_focal_loss(logits, labels, weights, gamma=case.params["gamma"])
    values = {"out.y": y, **case.backward((y * case["in.cot"]).sum())}
    logits.grad = None
    bce = weighted_bce(logits, labels, weights)
    (bce * case["in.cot"]).sum().backward()
    assert logits.grad is not None
    return {**values, "out.bce": bce, "grad.in.logits_bce": logits.grad}


def dedup_average(case: Case) -> dict[str, Tensor]:
    merged = merge_duplicates(case["in.ids"], case.input("embeddings"))
    filled = merged.counts > 0
    vectors = merged.vectors[filled]
    grads = case.backward((vectors * case["in.cot"]).sum())
    return {"out.ids": merged.ids[filled], "out.embeddings": vectors, **grads}


def count_min_sketch(case: Case) -> dict[str, Tensor]:
    p = case.params
    sketch = CountMinSketch(width=p["width"], depth=p["depth"], seed=p["seed"])
    first, second, asked = case["in.update1"], case["in.update2"], case["in.query"]
    sketch.update(first)
    sketch.update(second, torch.full_like(second, 3))
    counts = sketch(asked)
    hit1, hit2 = asked.unsqueeze(1) == first, asked.unsqueeze(1) == second
    true = hit1.sum(1) + 3 * hit2.sum(1)
    assert bool((counts >= true).all()), "a count is below the true count"
    seen = torch.cat([first, second]).unique()
    shared = (sketch.cells(asked).unsqueeze(2) == sketch.cells(seen).unsqueeze(1)) & (
        asked.unsqueeze(1) != seen
    )
    alone = ~shared.any(2).all(0)  # in some row no other id shares the cell
    assert torch.equal(counts[alone], true[alone]), "a count without collision is not exact"
    case.leave_out("the hash is free: counts were checked against the true ones", "out.count")
    case.leave_out("the hash is free", "out.hash_of_update1")
    return {"out.total": sketch.total}


def in_batch_loss(case: Case) -> dict[str, Tensor]:
    p = case.params
    viewer, entity, ids = case.input("viewer"), case.input("entity"), case["in.items"]
    labels, weights = case["in.mask"].t(), case["in.weights"].t()
    rows, heads = labels.shape
    initial = 1.0 if p["temperature"] is None else p["temperature"]
    temperature = Temperature(initial=initial, highest=1e9)
    values = {"out.tau_init": temperature.log_scale.detach().clone()}
    case.link("tau", temperature.log_scale, lambda p: p.view(1))
    log_q = None
    merged = merge_duplicates(ids, entity)
    if p["logq"]:
        counts = case["in.count_of_unique"].index_select(0, merged.slot)
        log_q = log_batch_probability(counts, case["in.count_total"].squeeze(), rows, dtype=torch.float64)
    own = torch.arange(rows)
    loss = SampledSoftmax(temperature=temperature, across_ranks=False)(
        viewer, entity, ids, own, own, labels, log_q=log_q
    )
    values |= {"state.tau": temperature.log_scale.detach().clone()}
    values |= _negatives(case, viewer, entity, temperature)
    saturated = _saturated(case)
    total = ((loss.clamp(max=100) if saturated else loss) * weights).sum() / heads
    values["out.loss"] = total
    return values | case.backward(total)


def _saturated(case: Case) -> bool:
    lowest = case.params.get("min_true_prob")
    saturated = lowest is not None and lowest < 1e-11
    if saturated:
        case.leave_out_gradients(SATURATED)
    return saturated


def _negatives(case: Case, viewer: Tensor, entity: Tensor, temperature: Temperature) -> dict[str, Tensor]:
    """The merged negatives and the logits, in the reference's order: a row per positive, head-major."""
    ids, mask = case["in.items"], case["in.mask"].bool()
    with torch.no_grad():
        merged = merge_duplicates(ids, entity)
        filled = merged.counts > 0
        vectors = merged.vectors[filled]
        own = torch.arange(len(ids))
        true = (candidate_dots(viewer, entity, own, own) * temperature()).t()[mask]
        logits = (SampledSoftmax.logits(viewer, vectors) * temperature()).transpose(0, 1)[mask]
        hits = ids.expand_as(mask)[mask].unsqueeze(1) == merged.ids[filled]
        logits = torch.cat([true.unsqueeze(1), logits.masked_fill(hits, -torch.inf)], dim=1)
    names = ("out.unique_items", "out.unique_negatives", "out.logits_uncorrected")
    return dict(zip(names, (merged.ids[filled], vectors, logits), strict=True))


def total_loss(case: Case) -> dict[str, Tensor]:
    p = case.params
    projection = Projection(case, len(p["head_weights"]))
    temperature = Temperature(highest=1e9)
    if p["in_batch"]:
        case.link("tau", temperature.log_scale, lambda p: p.view(1))
    in_batch = SampledSoftmax(temperature=temperature, across_ranks=False)
    sketch, heads = CountMinSketch(), HeadWeighting(weights=p["head_weights"])
    element = {"focal": binary_focal_loss, "bce": weighted_bce}[p["loss"]]
    saturated = _saturated(case)
    values: dict[str, Tensor] = {}
    for i in sorted({name.split(".")[0] for name in case.names("in.")}):
        projection.layer.zero_grad()
        temperature.zero_grad()
        columns = [c for c in COLUMN if f"in.{i}.{c}" in case]
        rule = reference_labels([COLUMN[c] for c in columns])
        labels, weights = rule(torch.stack([case[f"in.{i}.{c}"] for c in columns], dim=1))
        query, item = case.input(f"{i}.query_emb"), case.input(f"{i}.item_emb")
        names = sorted(name for name in case.names(f"in.{i}.") if name.startswith("4/"))
        cross = torch.stack([case[f"in.{i}.{name}"] for name in names], dim=1)
        viewer, own = query.unflatten(1, (-1, p["E"])), torch.arange(query.shape[0])
        scores = projection.layer(candidate_dots(viewer, item, own, own), cross)
        values |= {f"out.{i}.labels": labels, f"out.{i}.weights": weights.unsqueeze(1).expand_as(labels)}
        values[f"out.{i}.predictions"] = scores.sigmoid()
        total = heads(element(scores, labels, weights.unsqueeze(1)))
        extra = torch.zeros(())
        if p["in_batch"]:
            ids = case[f"out.{i}.item_ids"]
            case.leave_out("given: ids come from the log", f"out.{i}.item_ids")
            log_q = None
            if p["logq"]:
                unique = ids.unique()
                sketch.update(unique)
                log_q = log_batch_probability(sketch(ids), sketch.total, len(ids), dtype=torch.float64)
                values |= {f"out.{i}.unique_ids": unique, f"out.{i}.counts": sketch(unique)}
                values[f"out.{i}.total"] = sketch.total.clone()
            loss = in_batch(viewer, item, ids, own, own, labels, log_q=log_q)
            extra = (loss.clamp(max=100) if saturated else loss).mean()
            total = total + p["in_batch_weight"] * extra
        values |= {f"out.{i}.in_batch_loss": extra, f"out.{i}.total_loss": total}
        total.backward()
        values |= {f"grad.{i}.query_emb": query.grad, f"grad.{i}.item_emb": item.grad}
        values |= projection.gradients(f"grad.{i}.proj")
        if p["in_batch"]:
            values[f"grad.{i}.tau"] = temperature.log_scale.grad.clone()
    return {name: value.clone() for name, value in values.items()}


ADAPTERS = {
    "label_extractor": label_extractor,
    "binary_focal_loss": focal,
    "dedup_average": dedup_average,
    "count_min_sketch": count_min_sketch,
    "in_batch_loss": in_batch_loss,
    "total_loss": total_loss,
}
