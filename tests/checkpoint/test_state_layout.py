from __future__ import annotations

import torch

from interactrank.checkpoint.state_layout import canonicalize_optimizer_state


def stored(of: dict[str, torch.Tensor]) -> dict:
    state = canonicalize_optimizer_state(
        {"model": {}, "optimizer": {"state": {"replicated.ebc.embedding_bags.a.weight": of}}}
    )
    assert state["model"] == {}
    found: dict = state["optimizer"]["state"]
    return found


def test_sums_of_a_replicated_table_are_called_as_those_of_parts_and_share_their_memory() -> None:
    for total, expected in ((torch.zeros(3, 1), torch.ones(3)), (torch.zeros(3, 4), torch.ones(3, 4))):
        (name, of), *others = stored({"step": torch.tensor(5.0), "sum": total}).items()
        assert (name, list(of), others) == ("fused.ebc.embedding_bags.a.weight", ["a.momentum1"], [])
        total.fill_(1)
        assert torch.equal(of["a.momentum1"], expected)


def test_the_state_of_adam_stays_as_it_is() -> None:
    of = {"step": torch.tensor(5.0), "exp_avg": torch.zeros(3, 4), "exp_avg_sq": torch.zeros(3, 4)}
    assert stored(of) == {"replicated.ebc.embedding_bags.a.weight": of}


def test_a_table_without_state_is_left_out() -> None:
    assert stored({}) == {}
