"""Half precision between the ranks: nearly the same training, and not quite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from interactrank.checkpoint.weights import load_model
from interactrank.core.settings import ConfigError, parse_config
from interactrank.sharding.sharders import sharders
from interactrank.training.settings import TrainingSettings
from tests.ranks import run_ranks
from tests.sharding.test_shard import Trained, _train, settings_for
from tests.toy import ToyModel

TW, RW, CW = "table_wise", "row_wise", "column_wise"


def trained(folder: Path, sharding: str, **comms: str) -> tuple[list[Trained], dict[str, torch.Tensor]]:
    tables = dict.fromkeys(("queries", "words", "products"), sharding)
    settings = settings_for(tables, comms=comms, table_optimizer={"name": "adagrad", "lr": 0.1})
    ranks = run_ranks(2, _train, settings, str(folder))
    model = ToyModel()
    load_model(model, folder / "model.safetensors")
    return ranks, model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [TW, RW, CW])
def test_half_precision_differs_a_little(tmp_path: Path, sharding: str) -> None:
    """Batches of different sizes, so that row-wise tables take the way round gloo's all-gather."""
    exact, weights = trained(tmp_path / "fp32", sharding)
    found = {}
    for forward, backward in (("fp16", "fp16"), ("fp16", "bf16"), ("bf16", "bf16"), ("fp32", "fp16")):
        ranks, others = trained(
            tmp_path / f"{forward}_{backward}", sharding, forward=forward, backward=backward
        )
        assert ranks[0].losses == ranks[1].losses
        losses = [abs(a - b) for a, b in zip(ranks[0].losses, exact[0].losses, strict=True)]
        moved = max(float((others[key] - weights[key]).abs().max()) for key in weights)
        # Steps of the tables: 0.1; half a unit in the last place: 2^-12 of a value in fp16, 2^-9 in bf16.
        limit = 0.1 * 2.0 ** (-6 if "bf16" in (forward, backward) else -9)
        assert 0 < moved < limit, (forward, backward)
        assert max(losses) < limit
        assert (losses[0] == 0) == (forward == "fp32")  # the first loss knows no gradients yet
        found[forward, backward] = moved
    assert found["bf16", "bf16"] > found["fp16", "fp16"]


def test_tables_know_whether_their_caches_are_filled_ahead() -> None:
    """Also the planner reads it there: rows that are in the cache already take less of a step."""
    for pipeline, expected in (("auto", None), ("sparse_dist", None), ("prefetch", True)):
        found = sharders(TrainingSettings.model_validate({"pipeline": pipeline}))
        assert len(found) == 4
        for sharder in found[:2]:
            assert (sharder.fused_params or {}).get("prefetch_pipeline") is expected


def test_integers_are_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"forward: int8 cannot be used: its codec .* use fp16 or bf16"):
        parse_config(TrainingSettings, {"comms": {"forward": "int8"}})
    with pytest.raises(ConfigError, match=r"comms\.backward: .* found 'fp8'"):
        parse_config(TrainingSettings, {"comms": {"backward": "fp8"}})
