"""Every pair of sharding types in one collection pools as the unsharded one, be it by mean or by sum."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.distributed.world import current_world
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.sharding.types import TYPES
from interactrank.training.settings import TrainingSettings
from tests.ranks import run_ranks
from tests.sharding.torchrec_patches import bags


class Bags(nn.Module):
    def __init__(self, pooling: tuple[str, str]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bags = EmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(
                    name=name,
                    embedding_dim=8,
                    num_embeddings=20,
                    feature_names=[f"{name}_0", f"{name}_1"],
                    pooling=PoolingType[how.upper()],
                )
                for name, how in zip("ab", pooling, strict=True)
            ]
        )


def ids(rank: int) -> KeyedJaggedTensor:
    """Up to 4 ids in 5 (rank 0) or 3 rows of each feature; the last feature is empty on rank 1."""
    g = torch.Generator().manual_seed(rank)
    lengths = torch.randint(0, 5, (4, 5 - 2 * rank), generator=g)
    lengths[3] *= 1 - rank
    values = torch.randint(0, 20, (int(lengths.sum()),), generator=g)
    keys = ["a_0", "a_1", "b_0", "b_1"]
    return KeyedJaggedTensor(keys=keys, values=values, lengths=lengths.flatten())


def _pooled(pooling: tuple[str, str], types: list[tuple[str, str]]) -> list[float]:
    """Largest difference to the unsharded collection, for each pair of types."""
    world = current_world()
    found = []
    for a, b in types:
        batch = ids(world.rank)
        expected = Bags(pooling).bags(batch)
        model = Bags(pooling)
        sharding = {"a": {"types": [a]}, "b": {"types": [b]}}
        settings = TrainingSettings.model_validate({"sharding": sharding})
        sharded = shard_model(model, make_plan(model, settings, world), settings, world)
        pooled = sharded.module.bags(batch)
        differences: list[Tensor] = [(pooled[key] - expected[key]).abs().max() for key in batch.keys()]  # noqa: SIM118
        found.append(float(torch.stack(differences).max()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [("mean", "mean"), ("mean", "sum"), ("sum", "sum")])
def test_every_pair_of_types_pools_as_the_unsharded_collection(pooling: tuple[str, str]) -> None:
    pairs = list(itertools.product(TYPES, TYPES))
    for differences in run_ranks(2, _pooled, pooling, pairs):
        wrong = {pair: d for pair, d in zip(pairs, differences, strict=True) if d > 2e-6}
        assert not wrong


def _means_by_torchrec_alone() -> list[float]:
    """Means of bags of ones, which are 1, of a table-wise table next to a row-wise one."""
    settings = bags.settings_of({"a": "table_wise", "b": "row_wise"})
    model = bags.shard_by_torchrec(bags.Bags({"a": "mean", "b": "mean"}), settings)
    return model.module.bags(bags.uneven_ids(["a", "b"]))["a"].unique().tolist()


def test_mean_pooling__torchrec_alone_still_divides_twice() -> None:
    """Bags of 3 ids: a mean of 1 that is divided by 3 again."""
    for means in run_ranks(2, _means_by_torchrec_alone):
        assert means == pytest.approx([1 / 3])
