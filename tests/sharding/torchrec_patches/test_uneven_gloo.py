"""Row-wise tables on CPU train on batches of different sizes in our models, and only there."""

from __future__ import annotations

from torchrec.distributed import dist_data

from interactrank.distributed.world import current_world
from interactrank.sharding import make_plan, shard_model
from tests.ranks import run_ranks
from tests.sharding.torchrec_patches.bags import Bags, settings_of, shard_by_torchrec, uneven_ids

ROW_WISE = settings_of({"a": "row_wise"})
FUNCTIONS = (dist_data.reduce_scatter_v_pooled, dist_data.PooledEmbeddingsReduceScatter)


def _error(model: object) -> str:
    try:
        model(uneven_ids(["a"])).backward()  # type: ignore[operator]
    except RuntimeError as error:
        return str(error)
    return "no error"


def _train_both() -> tuple[str, str, bool]:
    world = current_world()
    model = Bags({"a": "sum"})
    ours = shard_model(model, make_plan(model, ROW_WISE, world), ROW_WISE, world)
    first = _error(ours)
    other = _error(shard_by_torchrec(Bags({"a": "sum"}), ROW_WISE))
    same = (dist_data.reduce_scatter_v_pooled, dist_data.PooledEmbeddingsReduceScatter) == FUNCTIONS
    return first, other, same


def test_uneven_gloo__torchrec_alone_still_fails_and_is_not_touched_by_our_models() -> None:
    for ours, other, same in run_ranks(2, _train_both):
        assert ours == "no error"
        assert "invalid tensor size" in other
        assert same
