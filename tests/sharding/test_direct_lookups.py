"""What a collection that exchanges nothing looks up, with and without TorchRec's exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.core.tensor_batch import TensorBatch
from interactrank.distributed.world import current_world, process_group
from interactrank.modules import TableConfig, embedding_bag_collection, embedding_collection
from interactrank.sharding import direct_lookups, shard
from interactrank.sharding.planner.plan import make_plan
from interactrank.training.optimizers import build_optimizer
from interactrank.training.pipeline import make_pipeline
from interactrank.training.settings import TrainingSettings
from tests.ranks import run_ranks


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
        self.rest = Rest()

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        return self.rest(self.bags(batch.ids), self.rows(batch.ids))


class Rest(nn.Module):
    """What comes behind the tables, in a module of its own for TorchRec's pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pooled: Any, rows: Any) -> tuple[Tensor, dict[str, Any]]:
        found = {key: pooled[key] for key in ("a", "b", "c")}
        found |= {f"rows {key}": rows[key].values() for key in ("a", "b", "c")}
        found |= {f"lengths {key}": rows[key].lengths() for key in ("a", "b", "c")}
        loss = sum(found[key].square().sum() for key in found if "lengths" not in key)
        return self.scale * loss, found


@dataclass
class Batch(TensorBatch):
    """Ids, in what the pipeline takes."""

    ids: KeyedJaggedTensor


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
            loss, out = dmp(Batch(ids(step)))
            loss.backward()
            found.append({key: value.detach().clone() for key, value in out.items()})
        return found, sum("_direct" in str(m.forward) for m in dmp.modules())


def test_results_are_those_of_torchrec_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    found, direct = trained(None)
    assert direct == 2
    monkeypatch.setattr(shard, "look_up_directly", lambda model, ranks: None)
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
    pooled = direct_lookups._pooled
    monkeypatch.setattr(direct_lookups, "_pooled", lambda *given: calls.append(1) or pooled(*given))
    trained(None)
    assert len(calls) == 2  # of three batches; TorchRec has the first


def _pipelined(pipeline: str, direct: bool) -> tuple[list[float], int, list[Tensor]]:
    """Losses of five steps, the collections that the pipeline exchanges ids of, and the last weights."""
    if not direct:
        shard.look_up_directly = lambda model, ranks: None
    types = {"wide": ["data_parallel"], "narrow": ["data_parallel"], "row_wide": ["table_wise"]}
    settings = TrainingSettings.model_validate(
        {"pipeline": pipeline, "sharding": {t: {"types": of} for t, of in types.items()}}
    )
    world, model = current_world(), Model()
    dmp = shard.shard_model(model, make_plan(model, settings, world), settings, world)
    shard.look_up_directly = direct_lookups.look_up_directly
    loop = make_pipeline(dmp.train(), build_optimizer(dmp, settings, 5), settings)
    batches = iter([Batch(ids(10 * step + world.rank)) for step in range(5)])
    losses = [loop.progress(batches).loss.item() for _ in range(5)]
    inner = getattr(loop, "pipeline", None)
    exchanged = len(inner._pipelined_modules) if inner is not None else 0
    loop.detach()
    return losses, exchanged, [p.detach().clone() for p in dmp.parameters()]


@pytest.mark.slow
def test_copies_on_two_ranks_are_looked_up_directly_also_in_the_pipeline() -> None:
    expected = run_ranks(2, _pipelined, "plain", False)
    for pipeline, exchanged in (("plain", 0), ("sparse_dist", 1)):
        found = run_ranks(2, _pipelined, pipeline, True)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine[0] == theirs[0]
            assert mine[1] == exchanged
            torch.testing.assert_close(mine[2], theirs[2], rtol=0, atol=0)
