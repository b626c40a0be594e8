from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

from interactrank.checkpoint import writer as storage
from interactrank.checkpoint.rng import random_state, seed_everything, set_random_state
from interactrank.checkpoint.writer import HashingWriter, SharingPlanner


def test_every_file_is_hashed_while_it_is_written(tmp_path: Path) -> None:
    """All but small blocks are hashed by a thread; against the hash of the file that is there."""
    state: dict[str, Any] = {
        "huge": torch.arange(2 * storage._PIECE + 70_000, dtype=torch.uint8),
        "large": torch.rand(300_000),
        "small": torch.rand(3),
        "text": "a",
        "empty": torch.zeros(0, 4),
    }
    writer = HashingWriter(tmp_path / "new")
    dcp.save(state, storage_writer=writer, no_dist=True)
    writer.close()
    files = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert sorted(files) == [".metadata", "__0_0.distcp"]
    assert writer.digests == {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    }
    found: dict[str, Any] = {
        "huge": torch.zeros(2 * storage._PIECE + 70_000, dtype=torch.uint8),
        "large": torch.zeros(300_000),
        "small": torch.zeros(3),
        "text": "",
        "empty": torch.zeros(0, 4),
    }
    dcp.load(found, checkpoint_id=tmp_path / "new", no_dist=True)
    assert torch.equal(found["large"], state["large"])
    assert torch.equal(found["huge"], state["huge"])
    assert found["text"] == "a"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_a_part_of_a_storage_is_written_without_its_neighbours_and_without_a_copy(
    tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 10..19 of 10,000, as FBGEMM keeps tables; a column, which is no block, may be copied."""
    whole = (torch.rand(10_000, 8) > 0.5).to(dtype)
    state = {"part": whole[10:20], "none": whole[:0], "one": whole[3, 3], "column": whole[10:20, 2]}
    written: dict[str, Any] = {}
    transform = SharingPlanner.transform_object

    def note(self: Any, item: Any, value: Any) -> Any:
        result = transform(self, item, value)
        written[item.index.fqn] = result
        return result

    monkeypatch.setattr(SharingPlanner, "transform_object", note)
    dcp.save(state, checkpoint_id=tmp_path / "new", planner=SharingPlanner(), no_dist=True)
    for key in ("part", "one"):
        assert written[key].untyped_storage().nbytes() == state[key].nbytes
    assert written["part"].data_ptr() == state["part"].data_ptr()
    found = {key: torch.zeros_like(value) for key, value in state.items()}
    dcp.load(found, checkpoint_id=tmp_path / "new", no_dist=True)
    for key, value in state.items():
        assert torch.equal(found[key], value), key
    assert sum(path.stat().st_size for path in (tmp_path / "new").iterdir()) < 20_000  # whole: 80 to 640 KB


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.save would only say: unexpected pos."""

    def full(self: object, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage._HashedFile, "_write", full)
    with pytest.raises(CheckpointException, match=r"OSError: \[Errno 28\] No space left on device"):
        dcp.save({"a": torch.rand(300)}, storage_writer=HashingWriter(tmp_path / "new"), no_dist=True)


def test_ranks_and_steps_have_seeds_of_their_own() -> None:
    before = random_state()
    drawn = set()
    for rank, step in ((0, 0), (1, 0), (0, 5), (1, 5), (0, 0)):
        seed_everything(3, rank, step)
        drawn.add(float(torch.rand(())))
    set_random_state(before)
    assert len(drawn) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_state_of_the_gpu_is_part_of_it() -> None:
    torch.cuda.manual_seed(1)
    before = random_state()
    drawn = torch.rand(3, device="cuda")
    set_random_state(before)
    assert torch.equal(drawn, torch.rand(3, device="cuda"))
