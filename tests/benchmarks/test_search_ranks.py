from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import search_ranks
from benchmarks.end_to_end import make_log
from benchmarks.workers import STEPS
from interactrank.distributed.world import process_group
from interactrank.training.session import Session


def test_each_name_steps_its_own_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_log(search_ranks.config("demo", 8, "plain", smoke=True), tmp_path)
    seen: list[tuple[str, int]] = []
    step = Session.step

    def noted(self: Session, number: int, segment: object) -> object:
        seen.append((type(self.pipeline).__name__, number))
        return step(self, number, segment)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "step", noted)
    with process_group("cpu"):
        names = {"one": "plain", "other": "sparse_dist"}
        search_ranks.prepare(names, str(tmp_path), "demo", 8, 2, True)
        for name in (*names, "one"):
            STEPS[name]()
    STEPS.clear()
    assert seen == [
        *(("PlainPipeline", n) for n in (1, 2)),
        *(("OverlappedPipeline", n) for n in (1, 2)),
        *(("PlainPipeline", n) for n in (3, 4)),
    ]
