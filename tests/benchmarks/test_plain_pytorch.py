from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from benchmarks import plain_pytorch as plain
from benchmarks.end_to_end import make_log
from benchmarks.workers import STEPS
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import process_group
from interactrank.models import InteractRank

OF = plain.config("demo", 8, smoke=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain")
    make_log(OF, path)
    return path


def test_plain_tables_look_up_what_torchrec_does(folder: Path) -> None:
    log = PreparedDataset(folder / "prepared")
    batches = list(itertools.islice(SearchLoader(log, "train", OF.loader).epoch(), 2))
    torch.manual_seed(0)
    model = InteractRank(layout=log.layout, settings=OF.model)
    torch.manual_seed(0)
    tables = plain.PlainLoop(log, OF, batches).model.tables
    for batch in batches:
        expected, found = model.tables(batch), tables(plain.plain_batch(batch, log.layout))
        for side in ("request", "item", "event"):
            torch.testing.assert_close(getattr(found, side), getattr(expected, side))


def test_both_loops_begin_with_the_same_loss_and_another_one_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process_group("cpu"):
        plain.build(str(folder), "demo", 8, 2, True)
        assert list(STEPS) == ["plain", "session"]
        step = plain.PlainLoop.step
        monkeypatch.setattr(plain.PlainLoop, "step", lambda self: step(self) * 1.001)
        with pytest.raises(RuntimeError, match="the first losses differ"):
            plain.build(str(folder), "demo", 9, 2, True)
    STEPS.clear()
