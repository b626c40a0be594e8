"""Versions of an export: whole or not at all, and the latest by its events is served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from interactrank.core.settings import ConfigError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import build_model
from interactrank.runs.export import export_trained
from interactrank.runs.run_directory import RunDirectoryError
from interactrank.serving import ArtifactError, PreRanker, Version
from interactrank.serving import export as module
from interactrank.serving.artifact import current_name
from tests.serving.exported import Exported, export_again, live_request


@pytest.fixture
def copy(made: Exported, tmp_path: Path) -> Path:
    """An export that may be damaged."""
    shutil.copytree(made.artifact, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_manifest_describes_itself(made: Exported) -> None:
    version = Version.current(made.artifact)
    assert version.facts["items"] == 12
    assert version.facts["dataset"]["fingerprint"] == made.log.manifest["fingerprint"]
    assert version.event_time == max(
        int(made.log.read(s, ["time"])["time"].to_numpy().max()) for s in ("train", "test")
    )
    assert version.name.startswith("2024")
    assert not list(made.artifact.rglob("*.pkl"))


def test_the_same_export_is_written_once(made: Exported, copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    export_again(made, copy)
    after = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.name != "current.json"} == {
        p: t for p, t in before.items() if p.name != "current.json"
    }


def test_an_older_version_is_not_served(made: Exported, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = current_name(copy)
    event_time = Version.current(copy).event_time
    monkeypatch.setattr(module, "last_event_time", lambda dataset: event_time - 1)
    older = export_again(made, copy)
    assert older.name != served
    assert current_name(copy) == served
    export_again(made, copy, replace_newer=True)
    assert current_name(copy) == older.name
    assert len(PreRanker.open(copy).ids) == 12


def test_weights_are_views_of_the_mapped_file(made: Exported) -> None:
    model = PreRanker.open(made.artifact).model
    for name, value in made.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert not any(p.requires_grad or p.is_meta for p in model.parameters())


def test_a_version_may_be_deleted_while_it_is_served(made: Exported, copy: Path) -> None:
    ranker, request = PreRanker.open(copy), live_request(made, "r7")
    expected = PreRanker.open(made.artifact).rank(request)
    shutil.rmtree(copy)
    assert ranker.rank(request).ids == expected.ids
    assert ranker.filters.mask(where={"categories": ["c1"]}).any()


def test_a_failed_export_leaves_the_old_one(
    made: Exported, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, before = current_name(copy), sorted(p.name for p in (copy / "versions").iterdir())

    def fail(*arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(module.ItemIds, "write", fail)
    with pytest.raises(OSError, match="the disk is full"):
        export_again(made, copy, precision="int8")
    assert current_name(copy) == served
    assert sorted(p.name for p in (copy / "versions").iterdir()) == before


def test_not_an_export(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"is not an export \(no readable current.json\); run interactrank export"
    ):
        PreRanker.open(tmp_path)


def test_half_copied(copy: Path) -> None:
    path = Version.current(copy).folder / "vectors" / "vectors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match=r"vectors' has 380 bytes instead of 384; copy the export again"):
        PreRanker.open(copy)
    path.unlink()
    with pytest.raises(ArtifactError, match="is missing; copy the export again"):
        PreRanker.open(copy)


def test_another_format_and_a_changed_manifest(copy: Path) -> None:
    version = Version.current(copy)
    manifest = version.folder / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"items": 12', '"items": 13', 1))
    with pytest.raises(ArtifactError, match="has changed since it was written"):
        PreRanker.open(copy)
    content = json.loads(text)
    del content["sha256"]
    manifest.write_text(json.dumps(content | {"artifact_format": 99}))
    with pytest.raises(ArtifactError, match="has format 99, not 1; export again"):
        PreRanker.open(copy)


def test_a_folder_with_something_else(made: Exported, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is not empty and not an export; name another folder"):
        export_again(made, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_model_without_item_vectors(made: Exported, tmp_path: Path) -> None:
    early = build_model("early_interaction", layout=made.log.layout, settings=made.config.model)
    with pytest.raises(ArtifactError, match="EarlyInteraction scores each pair of query and item by itself"):
        export_again(made._replace(model=early), tmp_path / "early")


def test_export_trained__verifies_and_notes_it(made: Exported, tmp_path: Path) -> None:
    version = export_trained(
        made.folder / "interactrank", tmp_path, head_weights={"only_click": 0.5}, verify_requests=4
    )
    found = Version.current(tmp_path).facts
    assert version.facts["verify"] == found["verify"]
    assert found["verify"]["requests"] == 4
    assert found["verify"]["split"] == "test"
    assert found["verify"]["largest_difference"] < 1e-4
    assert found["verify"]["overlap"] == 1.0
    assert found["head_weights"] == {"only_click": 0.5}


def test_export_trained__what_is_not_there(made: Exported, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds no trained model; name the run directory of one"):
        export_trained(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"--head: no head 'likes'; did you mean 'like'\?"):
        export_trained(made.folder / "interactrank", tmp_path / "out", head_weights={"likes": 1.0})
    assert PreparedDataset(made.folder / "prepared").folder.exists()
