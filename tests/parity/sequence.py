"""Adapters of the user sequence.

An empty slot of the reference takes part in pooling and attention with time bucket 0, so it is passed as a
real event with time difference 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from interactrank.modules.sequence import (
    LearnedWeightedPooling,
    QueryCrossAttention,
    RelativeTimeEmbedding,
    UserSequenceEmbedder,
    hours,
)
from tests.parity.case import Case


def timestamp_encoder(case: Case) -> dict[str, Tensor]:
    p = case.params
    encoder = RelativeTimeEmbedding(dim=p["output_dim"], buckets=p["bucket_len"])
    case.link("time_table", encoder.table.weight)
    ages = hours(case["in.dt_ms"])
    values = {"out.bucket_id": encoder.bucket(ages), "w.boundaries_hours": encoder.boundaries}
    return values | case.with_cotangent(encoder(ages))


def user_sequence(case: Case) -> dict[str, Tensor]:
    actions = case["in.action_ids"]
    rows, length = actions.shape
    kinds, width = case["w.action_table"].shape
    average = "w.pool_pin.weight" not in case
    events = torch.full((rows,), length)

    action = UserSequenceEmbedder(
        dim=width,
        action=nn.Embedding(kinds, width),
        pooling=LearnedWeightedPooling(max_len=length, normalized=average),
        learned_empty=False,
    )
    assert action.action is not None
    case.link("action_table", action.action.weight)
    if average:
        pin = UserSequenceEmbedder(
            dim=case["in.pin_seq"].shape[-1],
            pooling=LearnedWeightedPooling(max_len=length, normalized=True),
            learned_empty=False,
        )
        out = {
            "action": action({}, events, actions=actions.flatten()),
            "pin": pin(case.input("pin_seq").flatten(0, 1), events),
            "itemsage": case.input("itemsage_seq"),
            "query_hist": case.input("query_hist_seq"),
        }
        return _outputs(case, out)

    dim, past = case["in.pin_seq"].shape[-1], case["in.query_hist_seq"].shape[1]

    def summed(max_len: int, time: RelativeTimeEmbedding | None = None) -> UserSequenceEmbedder:
        return UserSequenceEmbedder(
            dim=dim,
            time=time,
            pooling=LearnedWeightedPooling(max_len=max_len),
            attention=QueryCrossAttention(dim=dim, project=False, scale=1.0),
            combine="sum",
            learned_empty=False,
        )

    item = summed(length, RelativeTimeEmbedding(dim=dim, buckets=case.params["bucket_len"]))
    query = summed(past)
    assert item.time is not None
    case.link("time_table", item.time.table.weight)
    for name, embedder in (("action", action), ("pin", item), ("query", query)):
        case.link(f"pool_{name}.weight", embedder.pooling.weight)
        case.link(f"pool_{name}.bias", embedder.pooling.bias, lambda p: p.view(1))

    then, now = case["in.event_time_ms"], (case["in.request_time_s"].unsqueeze(1) * 1000).long()
    ages = hours(torch.where(then == -1, 0, now - then)).flatten()
    asked = case.input("q")
    out = {
        "action": action({}, events, actions=actions.flatten()),
        "pin": item(case.input("pin_seq").flatten(0, 1), events, ages=ages, query=asked),
        "itemsage": item(case.input("itemsage_seq").flatten(0, 1), events, ages=ages, query=asked),
        "query_hist": query(
            case.input("query_hist_seq").flatten(0, 1), torch.full((rows,), past), query=asked
        ),
    }
    return _outputs(case, out)


def _outputs(case: Case, out: dict[str, Tensor]) -> dict[str, Tensor]:
    total = torch.stack([(x * case[f"in.cot.{name}"]).sum() for name, x in out.items()]).sum()
    return {"out.L": total, **{f"out.{name}": x for name, x in out.items()}, **case.backward(total)}


ADAPTERS = {"timestamp_encoder": timestamp_encoder, "user_sequence": user_sequence}
