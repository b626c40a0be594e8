from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import end_to_end, report
from benchmarks.end_to_end import MODELS, OURS, PEER, Contest, FolderError, as_rank, build, make_log, release
from benchmarks.end_to_end import config as run_config
from benchmarks.workers import STEPS
from interactrank.core.errors import UserError
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import process_group

ROOT = Path(__file__).parents[2]
OPTIONS = argparse.Namespace(smoke=True, block=40, device="cpu", folder=None, ranks=[1], threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("end_to_end")
    make_log(run_config("demo", 2, smoke=True), path)
    return path


@pytest.mark.parametrize("model", list(MODELS))
def test_the_model_of_each_name(model: str) -> None:
    of = run_config(model, 7, smoke=False)
    heavy = model == "table_heavy"
    assert of.search.tables["item"].dim == (128 if heavy else 32)
    assert of.model.item_tower.block_dim == (8 if heavy else 64)
    assert (of.training.log_every, of.training.validate_every) == (7, None)


def test_work_is_the_candidates_of_a_block_on_all_ranks(folder: Path) -> None:
    contest = Contest("demo", {(OURS, 1): None, (OURS, 2): None}, folder, OPTIONS)  # type: ignore[dict-item]
    log = PreparedDataset(folder / "prepared")
    for size in (1, 2):
        counts = []
        for rank in range(size):
            loader = SearchLoader(log, "train", contest.of.loader, rank=rank, world_size=size)
            counts.append([batch.num_candidates for batch in loader.epoch()])
        # Two steps a block, each with the mean number of candidates of all ranks together.
        assert contest.work(size) == pytest.approx(2 * np.sum(counts, axis=0).mean())
    assert contest.work(2) == pytest.approx(2 * contest.work(1), rel=0.1)


def test_only_more_ranks_are_compared_with_one(folder: Path) -> None:
    ranks: Any = {(kind, size): None for size in (1, 2) for kind in (OURS, PEER)}
    one, two = (Contest("demo", ranks, folder, OPTIONS).group(size) for size in (1, 2))
    assert [(c.name, c.target) for c in one.contestants] == [(OURS, None), (PEER, None)]
    assert [(c.name, c.target) for c in two.contestants] == [("one_rank", None), (OURS, 1.6), (PEER, None)]
    assert two.settings["judged_by"] == "wall"
    job: Any = {(OURS, 2): None, (PEER, 2): None}  # the ranks of a job: none of one alone
    assert [c.name for c in Contest("demo", job, folder, OPTIONS).group(2).contestants] == [OURS, PEER]


@pytest.mark.slow
def test_both_contestants_are_measured(folder: Path) -> None:
    class Here:
        def call(self, function: Any, *arguments: Any) -> list[Any]:
            return [function(*arguments)]

    here: Any = Here()
    contest = Contest("demo", {(OURS, 1): here, (PEER, 1): here}, folder, OPTIONS)
    group = contest.group(1)
    assert group.measure is not None
    with process_group("cpu"):
        found = group.measure(3, 1)
    assert {name: len(samples.wall) for name, samples in found.items()} == {OURS: 3, PEER: 3}
    assert min(found[OURS].wall + found[PEER].wall) > 0
    before, peak = group.settings["peak_mb"][OURS]
    assert 0 < before <= peak
    assert STEPS == {}
    rows = (folder / f"{OURS}_1" / "metrics.jsonl").read_text().splitlines()
    # Blocks of two steps: two after it was built, one to warm up, three rounds; each ends a row.
    assert [json.loads(row)["step"] for row in rows] == [2, 4, 6, 8, 10, 12]


def test_a_step_that_was_built_is_ended(folder: Path) -> None:
    with process_group("cpu"):
        build("a", OURS, str(folder), "demo", 1, True)
        thread = STEPS["a"].thread  # type: ignore[attr-defined]
        assert thread.is_alive()
        release()
    assert not thread.is_alive()


def test_gpus_need_a_job() -> None:
    options = argparse.Namespace(**{**vars(OPTIONS), "device": "cuda"})
    with pytest.raises(UserError, match="torchrun --nproc-per-node"):
        next(end_to_end.groups(options))


def test_several_machines_need_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(FolderError, match="give --folder"), as_rank(["--smoke"]):
        pass


@pytest.mark.slow
def test_the_ranks_of_a_job_write_one_result(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "benchmarks.end_to_end", "--smoke", "--device", "cpu", "--output", str(tmp_path)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = tmp_path.glob("*.json")
    assert done.stdout.count("written: ") == 1
    result = json.loads(path.read_text())
    assert report.problems(result) == []
    assert {row["world_size"] for row in result["results"]} == {2}
    assert {(row["model"], row["contestant"]) for row in result["results"]} == {
        (model, kind) for model in MODELS for kind in (OURS, PEER)
    }
