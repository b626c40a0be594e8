"""Weights that a model has before sharding."""

from __future__ import annotations

import torch

from interactrank.distributed.world import World, process_group
from interactrank.sharding import make_plan, shard_model
from tests.sharding.torchrec_patches.bags import Bags, settings_of, shard_by_torchrec

TABLE_WISE = settings_of({"a": "table_wise"})


def _loaded() -> Bags:
    model = Bags({"a": "sum"})
    with torch.no_grad():
        model.bags.embedding_bags["a"].weight.fill_(7.0)
    return model


def _values(sharded: torch.nn.Module) -> list[float]:
    (table,) = [v for k, v in sharded.state_dict().items() if k.endswith("a.weight")]
    return table.local_shards()[0].tensor.unique().tolist()


def _ours(world: World) -> list[float]:
    model = _loaded()
    return _values(shard_model(model, make_plan(model, TABLE_WISE, world), TABLE_WISE, world))


def test_initial_weights__torchrec_alone_still_loses_them() -> None:
    """Ones are what the table's init_fn makes, sevens what was loaded."""
    with process_group("cpu") as world:
        assert _values(shard_by_torchrec(_loaded(), TABLE_WISE)) == [1.0]
        assert _ours(world) == [7.0]
