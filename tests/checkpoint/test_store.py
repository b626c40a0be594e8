from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from interactrank.checkpoint import store as checkpoint
from interactrank.checkpoint.manifest import CheckpointError
from interactrank.checkpoint.store import CheckpointStore
from interactrank.core.manifest import Manifest
from interactrank.distributed.errors import RankError
from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.data_position import DataPosition
from interactrank.training.optimizers import build_optimizer
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.ranks import run_ranks
from tests.toy import ToyLoader, ToyModel

TW, RW, CW = "table_wise", "row_wise", "column_wise"


def settings_for(kinds: tuple[str, str, str], **more: object) -> TrainingSettings:
    sharding = dict(zip(("queries", "words", "products"), kinds, strict=True))
    values = {"steps": 3, "log_every": 3, "sharding": {t: {"types": [k]} for t, k in sharding.items()}}
    return TrainingSettings.model_validate(values | more)


def _train(settings: TrainingSettings, output: str) -> None:
    train(ToyModel(), ToyLoader(current_world().rank), settings, output)


def _copy(settings: TrainingSettings, source: str, target: str) -> dict[str, Any]:
    """Loads a checkpoint into a fresh model and saves it again, from this number of ranks."""
    world = current_world()
    model = ToyModel(seed=5)
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    optimizer = build_optimizer(dmp, settings, 3)
    path = CheckpointStore(source).latest()
    assert path is not None
    position = CheckpointStore(source).position(path)
    CheckpointStore(source).load(path, dmp, optimizer)
    CheckpointStore(target).save(dmp, optimizer, position["step"], position)
    return position


def contents(store: Path) -> dict[str, Any]:
    """All tensors of the only checkpoint of a store, whole, by name; without the random state."""
    (folder,) = (store).glob("step_*")
    whole = store.parent / f"{store.name}.pt"
    dcp_to_torch_save(folder, whole)
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}/{key}", inner)
        else:
            flat[prefix] = value

    walk("", {k: v for k, v in torch.load(whole, weights_only=True).items() if k != "rng"})
    return flat


def assert_same_contents(a: Path, b: Path) -> None:
    first, second = contents(a), contents(b)
    assert first.keys() == second.keys()
    assert len(first) > 20
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_load_on_another_number_of_ranks_and_another_layout_is_bit_for_bit(tmp_path: Path) -> None:
    two, one, back = (tmp_path / name for name in ("two/checkpoints", "one", "back"))
    run_ranks(2, _train, settings_for((TW, RW, RW)), str(tmp_path / "two"))
    with process_group("cpu"):
        position = _copy(settings_for((RW, TW, TW)), str(two), str(one))
    assert DataPosition.from_json(position) == DataPosition(
        step=3, epoch=0, epoch_step=3, ranks=2, epoch_steps=4
    )
    assert_same_contents(two, one)
    assert run_ranks(2, _copy, settings_for((RW, RW, TW)), str(one), str(back)) == [position, position]
    assert_same_contents(two, back)


def test_column_wise_with_element_wise_state_loads_anywhere(tmp_path: Path) -> None:
    more = {"table_optimizer": {"name": "adagrad"}}
    run_ranks(2, _train, settings_for((CW, CW, CW), **more), str(tmp_path))
    with process_group("cpu"):
        _copy(settings_for((RW, TW, TW), **more), str(tmp_path / "checkpoints"), str(tmp_path / "one"))
    assert_same_contents(tmp_path / "checkpoints", tmp_path / "one")


def test_column_wise_row_wise_adagrad_on_other_ranks_is_refused_by_table(tmp_path: Path) -> None:
    run_ranks(2, _train, settings_for((RW, CW, RW)), str(tmp_path))
    with process_group("cpu"), pytest.raises(CheckpointError) as error:
        _copy(settings_for((RW, CW, RW)), str(tmp_path / "checkpoints"), str(tmp_path / "one"))
    # Two column shards keep two accumulators for each of the 16 rows.
    assert "words.momentum1' is float32 32 in the checkpoint and float32 16 in this run" in str(error.value)
    assert "Table ebc.words was column_wise on 2 ranks and is column_wise on 1" in str(error.value)


@pytest.mark.parametrize("optimizer", ["row_wise_adagrad", "adagrad", "sgd"])
def test_replicated_tables_load_into_parts_and_back_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    more = {"table_optimizer": {"name": optimizer}}
    two, one, back = (tmp_path / name for name in ("two/checkpoints", "one", "back"))
    run_ranks(2, _train, settings_for(("data_parallel", RW, RW), **more), str(tmp_path / "two"))
    with process_group("cpu"):
        _copy(settings_for((TW, "data_parallel", TW), **more), str(two), str(one))
    assert_same_contents(two, one)
    run_ranks(2, _copy, settings_for(("data_parallel", TW, RW), **more), str(one), str(back))
    assert_same_contents(two, back)


def test_a_replicated_table_goes_on_in_parts_as_it_would_have_by_itself(tmp_path: Path) -> None:
    """The same losses but for rounding, as the state is that of the other layout, too."""
    losses = {}
    for name, second in (("copies", "data_parallel"), ("parts", RW)):
        run_ranks(2, _train, settings_for(("data_parallel", RW, RW)), str(tmp_path / name))
        run_ranks(2, _train, settings_for((second, RW, RW), steps=6, log_every=1), str(tmp_path / name))
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses[name] = [found["loss"] for line in lines if "loss" in (found := json.loads(line))]
    assert len(losses["copies"]) == 4  # at step 3, and at the three after it
    assert losses["parts"] == pytest.approx(losses["copies"], abs=1e-6)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    with process_group("cpu"):
        train(ToyModel(), ToyLoader(), TrainingSettings(steps=3, checkpoint_every=2), tmp_path)
    return tmp_path


def resume(output: Path, model: ToyModel | None = None, **more: object) -> str:
    """The message of the error that resuming ends with."""
    settings = TrainingSettings.model_validate({"steps": 4} | more)
    with process_group("cpu"), pytest.raises(CheckpointError) as error:
        train(model or ToyModel(), ToyLoader(), settings, output)
    return str(error.value)


def test_a_truncated_changed_or_missing_file_is_refused_by_name(trained: Path) -> None:
    data = trained / "checkpoints" / "step_0000000003" / "__0_0.distcp"
    whole = data.read_bytes()
    remedy = "delete the folder step_0000000003 to resume from the checkpoint before it, step_0000000002"
    data.write_bytes(whole[:-100])
    assert resume(trained) == f"'{data}' has {len(whole) - 100:,} bytes instead of {len(whole):,}; {remedy}"
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert resume(trained) == f"'{data}' has changed since it was written (SHA-256); {remedy}"
    data.unlink()
    assert resume(trained) == f"'{data}' is missing; {remedy}"
    data.write_bytes(whole)
    metadata = data.with_name(".metadata")  # a pickle: must not be opened when it is not the one we wrote
    metadata.write_bytes(b"cos\nsystem\n(S'touch " + str(trained / "owned").encode() + b"'\ntR.")
    assert ".metadata' has" in resume(trained)
    assert not (trained / "owned").exists()
    # The remedy works: the checkpoint before it is good.
    shutil.rmtree(data.parent)
    with process_group("cpu"):
        assert train(ToyModel(), ToyLoader(), TrainingSettings(steps=4), trained).step == 4


def test_an_unreadable_or_older_manifest_is_refused(trained: Path) -> None:
    file = trained / "checkpoints" / "step_0000000003" / "manifest.json"
    text = file.read_text()
    file.write_text(text[:50])
    assert "manifest.json' is not a readable manifest" in resume(trained)
    file.write_text(text)
    manifest = Manifest.read(file.parent)
    Manifest({**manifest.facts, "version": 3}, manifest.files).write(file.parent, seal=True)
    assert "format version 3, but this release reads 4" in resume(trained)
    file.write_text(text.replace('"step": 3', '"step": 2'))
    assert f"'{file}' has changed since it was written; delete the folder" in resume(trained)
    shutil.rmtree(trained / "checkpoints" / "step_0000000002")
    assert "it is the oldest checkpoint: delete step_0000000003 to start from scratch" in resume(trained)


def test_store__a_checkpoint_without_its_manifest_is_warned_of(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = trained / "checkpoints"
    (store / "step_0000000003" / "manifest.json").unlink()
    with process_group("cpu"):
        assert CheckpointStore(store).latest() == store / "step_0000000002"
    said = "step_0000000003 is incomplete (no manifest.json) and ignored; delete it"
    assert said in caplog.text
    (store / "step_0000000002" / "manifest.json").unlink()
    assert "step_0000000003 has no manifest.json, and there is no other checkpoint" in resume(trained)


def test_what_is_left_of_a_removed_checkpoint_is_cleared(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while an old checkpoint is deleted leaves files of it, but no checkpoint."""
    store = trained / "checkpoints"

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", killed)
        with process_group("cpu"), pytest.raises(KeyboardInterrupt):
            train(ToyModel(), ToyLoader(), TrainingSettings(steps=4), trained)
    assert len(list(store.glob(".unfinished_*_removed"))) == 1
    with process_group("cpu"):
        train(ToyModel(), ToyLoader(), TrainingSettings(steps=5), trained)
    assert sorted(path.name for path in store.iterdir()) == ["step_0000000004", "step_0000000005"]


def test_a_random_state_of_another_kind_of_device_does_not_keep_a_run_from_going_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = checkpoint.random_state
    monkeypatch.setattr(checkpoint, "random_state", lambda: {**here(), "cuda": torch.zeros(16)})
    with process_group("cpu"):
        assert train(ToyModel(), ToyLoader(), TrainingSettings(steps=4), trained).step == 4


def test_a_checkpoint_of_another_model_is_refused_with_the_first_difference(trained: Path) -> None:
    assert (
        "'model/ebc.embedding_bags.queries.weight' is float32 21 x 8 in the checkpoint and float32 21 x 12 "
        "in this run. Train with the settings that made it, or give another output folder"
    ) in resume(trained, ToyModel(dim=12))
    extra = ToyModel()
    extra.rest.bias = torch.nn.Parameter(torch.zeros(2))
    assert "'model/rest.bias' is in this run but not in the checkpoint" in resume(trained, extra)
    other = resume(trained, table_optimizer={"name": "sgd"})
    assert "momentum1' is in the checkpoint but not in this run" in other


def _elsewhere(output: str) -> str:
    """Rank 1 is on a machine with a disk of its own."""
    world, model, settings = current_world(), ToyModel(), TrainingSettings()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    store = CheckpointStore(output if world.is_main else f"{output}_other")
    checkpoint._VISIBLE_S, before = 0.2, checkpoint._VISIBLE_S
    try:
        store.save(dmp, build_optimizer(dmp, settings, 1), 1, {"step": 1})
    except (CheckpointError, RankError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        checkpoint._VISIBLE_S = before
    return "no error"


def test_a_folder_that_a_machine_does_not_see_is_refused(tmp_path: Path) -> None:
    first, second = run_ranks(2, _elsewhere, str(tmp_path / "store"))
    assert first.startswith("RankError: rank 1 failed while looking for the checkpoint's folder")
    assert "this rank does not see the folder that rank 0 made in it" in second
    assert second.endswith("a file system that all machines share")


def test_an_unfinished_checkpoint_does_not_count_and_is_cleared(trained: Path) -> None:
    store = trained / "checkpoints"
    (store / ".unfinished_step_0000000009").mkdir()
    (store / "step_0000000010").mkdir()  # no manifest
    with process_group("cpu"):
        assert CheckpointStore(store).latest() == store / "step_0000000003"
        train(ToyModel(), ToyLoader(), TrainingSettings(steps=4, keep_last=1), trained)
    assert sorted(p.name for p in store.iterdir()) == ["step_0000000004", "step_0000000010"]


def test_a_save_that_fails_leaves_the_earlier_checkpoint(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Manifest, "write", full)
        for more in ({}, {"checkpoint_async": True}):
            settings = TrainingSettings.model_validate({"steps": 4} | more)
            with process_group("cpu"), pytest.raises(OSError, match="No space left"):
                train(ToyModel(), ToyLoader(), settings, trained)
            with process_group("cpu"):
                assert CheckpointStore(trained / "checkpoints").latest() == (
                    trained / "checkpoints" / "step_0000000003"
                )
    with process_group("cpu"):
        assert train(ToyModel(), ToyLoader(), TrainingSettings(steps=4), trained).step == 4
