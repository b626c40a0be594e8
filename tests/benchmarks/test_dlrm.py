from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import dlrm
from benchmarks.workers import STEPS
from interactrank.distributed.world import process_group
from tests.ranks import run_ranks


def test_batches_have_the_shape_of_criteo_and_ids_within_their_tables() -> None:
    with process_group("cpu"):
        batch = next(dlrm.batches(16, smoke=False))
    assert batch.dense_features.shape == (16, 13)
    ids = batch.sparse_features
    assert len(ids.keys()) == 26
    for key, rows in zip(ids.keys(), dlrm.rows(smoke=False), strict=True):
        values = ids[key].values()
        assert len(values) == 16
        assert 0 <= int(values.min()) <= int(values.max()) < rows <= 100_000


def _losses(folder: str) -> tuple[list[str], list[float]]:
    torch.set_num_threads(1)
    dlrm.build(8, folder, 2, True)  # raises if the first losses differ
    for step in STEPS.values():
        step()
    return list(STEPS), [float(loop.step()) for loop in (dlrm.BareLoop(8, True),)]


@pytest.mark.slow
def test_both_loops_begin_with_the_same_loss_on_two_ranks(tmp_path: Path) -> None:
    for names, losses in run_ranks(2, _losses, str(tmp_path)):
        assert names == ["bare", "session"]
        assert all(0 < loss < 10 for loss in losses)


def test_another_loss_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = dlrm.BareLoop.step
    monkeypatch.setattr(dlrm.BareLoop, "step", lambda self: step(self) * 1.001)
    with process_group("cpu"), pytest.raises(RuntimeError, match="the first losses differ"):
        dlrm.build(8, str(tmp_path), 2, True)
    STEPS.clear()
