"""Collections for the tests of workarounds, sharded by TorchRec alone or by us."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.distributed.world import current_world
from interactrank.sharding import ShardingSettings, make_plan
from interactrank.sharding.sharders import sharders
from interactrank.sharding.table_optimizer import apply_table_optimizer
from interactrank.sharding.tables import table_parameters


def ones(weight: Tensor) -> None:
    with torch.no_grad():
        weight.fill_(1.0)


class Bags(nn.Module):
    """Tables of 20 rows of ones, 8 wide, with a feature each."""

    def __init__(self, poolings: dict[str, str]) -> None:
        super().__init__()
        self.bags = EmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(
                    name=name,
                    embedding_dim=8,
                    num_embeddings=20,
                    feature_names=[name],
                    pooling=PoolingType[pooling.upper()],
                    init_fn=ones,
                )
                for name, pooling in poolings.items()
            ]
        )

    def forward(self, ids: KeyedJaggedTensor) -> Tensor:
        return self.bags(ids).values().square().mean()


def settings_of(types: dict[str, str]) -> ShardingSettings:
    return ShardingSettings.model_validate({"sharding": {name: {"types": [t]} for name, t in types.items()}})


def shard_by_torchrec(model: nn.Module, settings: ShardingSettings) -> DistributedModelParallel:
    """What TorchRec makes of our plan and sharders, without the workarounds that follow sharding."""
    world = current_world()
    plan = make_plan(model, settings, world)
    apply_table_optimizer(table_parameters(model), settings.table_optimizer, world.device.type, ())
    return DistributedModelParallel(model, device=world.device, plan=plan, sharders=sharders(settings))


def uneven_ids(names: list[str]) -> KeyedJaggedTensor:
    """Bags of 3 ids: 5 of each feature on rank 0, 3 on rank 1."""
    rows = 5 - 2 * current_world().rank
    lengths = torch.full((rows * len(names),), 3)
    return KeyedJaggedTensor(keys=names, values=torch.arange(int(lengths.sum())) % 20, lengths=lengths)
