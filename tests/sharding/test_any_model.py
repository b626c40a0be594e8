"""A model of TorchRec's own parts, without a module of ours, is planned, sharded and trained on two ranks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig, EmbeddingConfig
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.modules.mc_embedding_modules import ManagedCollisionEmbeddingBagCollection
from torchrec.modules.mc_modules import (
    LFU_EvictionPolicy,
    ManagedCollisionCollection,
    MCHManagedCollisionModule,
)
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.distributed import current_world
from interactrank.sharding import ShardingSettings, make_plan, shard_model
from tests.ranks import run_ranks


def _config(name: str) -> EmbeddingBagConfig:
    return EmbeddingBagConfig(name=name, embedding_dim=8, num_embeddings=16, feature_names=[name])


class Model(nn.Module):
    """A pooled table, one of sequences and, if asked for, one that TorchRec manages."""

    def __init__(self, managed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bags = EmbeddingBagCollection(tables=[_config("a")])
        rows = EmbeddingConfig(name="b", embedding_dim=8, num_embeddings=16, feature_names=["b"])
        self.rows = EmbeddingCollection(tables=[rows])
        self.head = nn.Linear(8, 1)
        self.managed = _managed() if managed else None

    def forward(self, ids: KeyedJaggedTensor) -> Tensor:
        pooled = self.bags(ids)["a"] + self.rows(ids)["b"].values()
        if self.managed is not None:
            own, _ = self.managed(ids)
            pooled = pooled + own["c"]
        return self.head(pooled).square().mean()


def _managed() -> ManagedCollisionEmbeddingBagCollection:
    config = _config("c")
    module = MCHManagedCollisionModule(
        zch_size=16,
        device=torch.device("cpu"),
        eviction_interval=2,
        eviction_policy=LFU_EvictionPolicy(),
        buckets=2,
    )
    return ManagedCollisionEmbeddingBagCollection(
        EmbeddingBagCollection(tables=[config]), ManagedCollisionCollection({"c": module}, [config])
    )


def ids(seed: int) -> KeyedJaggedTensor:
    """One id a row: 4 rows on rank 0, 3 on rank 1."""
    rows = 4 - current_world().rank
    g = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 16, (3 * rows,), generator=g)
    return KeyedJaggedTensor(keys=["a", "b", "c"], values=values, lengths=torch.ones_like(values))


def _train(managed: bool) -> list[float]:
    world, model = current_world(), Model(managed)
    settings = ShardingSettings.model_validate({"sharding": {"a": {"types": ["row_wise"]}}})
    sharded = shard_model(model, make_plan(model, settings, world), settings, world)
    losses = []
    for seed in range(6):
        loss = sharded(ids(seed))
        loss.backward()  # updates the tables
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("managed", [False, True])
def test_shard_model__trains_a_plain_torchrec_model(managed: bool) -> None:
    for losses in run_ranks(2, _train, managed):
        assert len(losses) == 6
        assert all(torch.tensor(losses).isfinite())
