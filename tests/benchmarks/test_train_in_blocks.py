from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.end_to_end import config, make_log
from benchmarks.train_in_blocks import Gate, Stopped, TrainInBlocks
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import process_group


class Numbers:
    steps_per_epoch = 3

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:
        yield from (10 * n + k for k in range(start, 3))


def test_batches_pass_the_gate_block_by_block() -> None:
    gate = Gate(Numbers())
    seen: list[int] = []

    def train() -> None:
        try:
            for n in range(3):
                for batch in gate.epoch(n):
                    seen.append(batch)
        except Stopped as error:
            gate.reached.put(error)

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    gate.wait()
    assert seen == []
    gate.go(2)
    assert seen == [0, 1]
    gate.go(4)  # over the end of the pass
    assert seen == [0, 1, 2, 10, 11, 12]
    gate.go(0)
    thread.join()
    assert seen == [0, 1, 2, 10, 11, 12]


def test_an_error_of_the_training_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = config("demo", 1, smoke=True)
    make_log(of, tmp_path)
    whole = SearchLoader.epoch

    def short(self: SearchLoader, n: int = 0, start: int = 0) -> Iterator[Any]:
        for k, batch in enumerate(whole(self, n, start)):
            if k == 3:
                raise OSError("the disk is gone")
            yield batch

    monkeypatch.setattr(SearchLoader, "epoch", short)
    with process_group("cpu"):
        step = TrainInBlocks(PreparedDataset(tmp_path / "prepared"), of, tmp_path / "run", 2)
        step()
        with pytest.raises(OSError, match="the disk is gone"):
            step()
