"""What a collection on one rank looks up, with and without TorchRec's exchange."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.distributed.world import process_group
from interactrank.modules import TableConfig, embedding_bag_collection, embedding_collection
from interactrank.sharding import one_rank, shard
from interactrank.sharding.planner.plan import make_plan
from interactrank.training.settings import TrainingSettings


class Model(nn.Module):
    """Tables of two widths, one with two features, pooled and not; ids come in another order than tables."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        tables = {"wide": (8, ["a", "b"], "mean"), "narrow": (4, ["c"], "sum")}
        self.bags = embedding_bag_collection(
            [
                TableConfig(name=name, rows=11, dim=dim, features=keys, pooling=pooling)
                for name, (dim, keys, pooling) in tables.items()
            ]
        )
        self.rows = embedding_collection(
            [
                TableConfig(name=f"row_{name}", rows=11, dim=4, features=keys, pooling=None)
                for name, (_, keys, _) in tables.items()
            ]
        )

    def forward(self, ids: KeyedJaggedTensor) -> tuple[Tensor, dict[str, Any]]:
        pooled, rows = self.bags(ids), self.rows(ids)
        found = {key: pooled[key] for key in ("a", "b", "c")}
        found |= {f"rows {key}": rows[key].values() for key in ("a", "b", "c")}
        found |= {f"lengths {key}": rows[key].lengths() for key in ("a", "b", "c")}
        return sum(found[key].square().sum() for key in found if "lengths" not in key), found


def ids(step: int) -> KeyedJaggedTensor:
    lengths = torch.randint(0, 4, (9,), generator=torch.Generator().manual_seed(step))
    values = torch.randint(0, 11, (int(lengths.sum()),), generator=torch.Generator().manual_seed(step))
    return KeyedJaggedTensor(keys=["c", "b", "a"], values=values, lengths=lengths)


def trained(types: list[str] | None) -> tuple[list[dict[str, Tensor]], int]:
    """Outputs of three steps, and how many look-ups went straight to the kernels."""
    sharding = {t: {"types": types} for t in ("wide", "narrow", "row_wide", "row_narrow")} if types else {}
    settings = TrainingSettings.model_validate({"sharding": sharding})
    with process_group("cpu") as world:
        model = Model()
        dmp = shard.shard_model(model, make_plan(model, settings, world), settings, world)
        found = []
        for step in range(3):
            loss, out = dmp(ids(step))
            loss.backward()
            found.append({key: value.detach().clone() for key, value in out.items()})
        return found, sum("_direct" in str(m.forward) for m in dmp.modules())


def test_results_are_those_of_torchrec_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    found, direct = trained(None)
    assert direct == 2
    monkeypatch.setattr(shard, "look_up_directly", lambda model: None)
    expected, direct = trained(None)
    assert direct == 0
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_other_layouts_keep_torchrecs_way(monkeypatch: pytest.MonkeyPatch) -> None:
    found, direct = trained(["row_wise"])
    assert direct == 0
    expected, _ = trained(None)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_first_batch_is_torchrecs_and_the_others_are_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    pooled = one_rank._pooled
    monkeypatch.setattr(one_rank, "_pooled", lambda *given: calls.append(1) or pooled(*given))
    trained(None)
    assert len(calls) == 2  # of three batches; TorchRec has the first
