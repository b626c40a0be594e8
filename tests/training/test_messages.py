"""How many messages a step has, counted by hand and by the profiler."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile

from interactrank.training.messages import counted_messages, message_counts
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import COUNTED_STEP, train
from tests.ranks import run_ranks
from tests.toy import ToyLoader, ToyModel


def _known() -> dict[str, float]:
    with counted_messages() as messages:
        dist.all_reduce(torch.ones(10))
        dist.all_reduce(torch.ones(3, dtype=torch.long))
        dist.all_to_all_single(torch.empty(4), torch.ones(4))
        dist.broadcast(torch.ones(2, 2, dtype=torch.bfloat16), 0)
        dist.all_gather_into_tensor(torch.empty(6), torch.ones(3))
    return messages


def test_every_kind_is_counted_with_its_bytes() -> None:
    for found in run_ranks(2, _known):
        assert found == {
            "messages/all_reduce": 2,
            "messages/all_reduce_bytes": 10 * 4 + 3 * 8,
            "messages/all_to_all": 1,
            "messages/all_to_all_bytes": 4 * 4,
            "messages/broadcast": 1,
            "messages/broadcast_bytes": 4 * 2,
            "messages/all_gather": 1,
            "messages/all_gather_bytes": 3 * 4,
        }


def test_names_of_nccl_and_unknown_ones() -> None:
    events = [("nccl:_reduce_scatter_base", [[8]], ["float"]), ("nccl:send", [[2]], ["double"])]
    assert message_counts(events) == {
        "messages/reduce_scatter": 1,
        "messages/reduce_scatter_bytes": 32,
        "messages/other": 1,
        "messages/other_bytes": 16,
    }


def test_a_profiler_that_runs_already_is_left_alone() -> None:
    with profile(activities=[ProfilerActivity.CPU]), counted_messages() as messages:
        torch.ones(3).sum()
    assert messages == {}


def _trained(kind: str, output: str) -> list[dict[str, float]]:
    asked = {"queries": {"types": [kind]}, "words": {"types": [kind]}, "products": {"types": ["table_wise"]}}
    settings = TrainingSettings.model_validate({"steps": 6, "epochs": 2, "log_every": 1, "sharding": asked})
    loader = ToyLoader(dist.get_rank())
    return train(ToyModel(), loader, settings, output).metrics


def test_the_log_of_a_training_has_them_once_and_copies_save_messages(tmp_path: Path) -> None:
    found = {}
    for kind in ("data_parallel", "table_wise"):
        rows = run_ranks(2, _trained, kind, str(tmp_path / kind))[0]
        counted = [row for row in rows if any(key.startswith("messages/") for key in row)]
        assert [row["step"] for row in counted] == [COUNTED_STEP]
        found[kind] = counted[0]["messages/all_to_all"]
        assert counted[0]["messages/all_reduce"] >= 1  # dense gradients in one bucket
    assert found["data_parallel"] < found["table_wise"]
