from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import overhead
from benchmarks.overhead import BareLoop, TurnsLoader, compete, config
from interactrank.data import prepare_log
from interactrank.data.simulator import simulate
from interactrank.distributed.world import process_group


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("overhead")
    of = config(1, 1, 1)
    assert of.simulate is not None
    simulate(of.simulate.model_copy(update={"requests": 150}), path / "log")
    prepare_log(path / "log", path / "prepared", of.search, of.prepare)
    return path


def test_the_bare_loop_has_its_turn_between_blocks_of_the_trainer() -> None:
    done: list[Any] = []
    batches: Any = ["x", "y", "z"]
    loader = TurnsLoader(batches, lambda count: done.append(f"bare {count}"), block=2, rounds=2)
    for batch in loader.epoch(0):
        done.append(batch)
    # The warm-up, two rounds, and a batch that is in no measurement; batches go round.
    assert done == ["x", "y", "bare 2", "bare 2", "z", "x", "y", "z", "bare 2", "x"]
    assert loader.steps_per_epoch == sum(not str(what).startswith("bare") for what in done)
    assert [len(loader.samples[name].wall) for name in ("bare", "train")] == [2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("clip", [True, False])
def test_both_loops_train_the_same(folder: Path, clip: bool) -> None:
    with process_group("cpu"):
        found = compete(str(folder), requests=8, block=2, rounds=2, clip=clip)
    assert [len(found[name].wall) for name in ("bare", "train")] == [2, 2]


@pytest.mark.slow
def test_another_loss_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prepared").symlink_to(folder / "prepared")
    original = BareLoop.steps

    def wrong(self: BareLoop, count: int) -> None:
        original(self, count)
        self.losses[-1] = self.losses[-1] + torch.ones(())

    monkeypatch.setattr(overhead.BareLoop, "steps", wrong)
    with process_group("cpu"), pytest.raises(RuntimeError, match="step 2: mean loss"):
        compete(str(tmp_path), requests=8, block=2, rounds=1, clip=True)
