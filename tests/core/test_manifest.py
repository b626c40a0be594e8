"""Files that differ from what a manifest lists are named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from interactrank.core.manifest import Manifest, ManifestError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b" / "c").write_bytes(b"4567")
    return tmp_path


def test_manifest__lists_files_with_size_and_checksum(folder: Path) -> None:
    manifest = Manifest.of(folder, {"format": 3})
    assert manifest.files == {
        "a": {"bytes": 3, "sha256": hashlib.sha256(b"123").hexdigest()},
        "b/c": {"bytes": 4, "sha256": hashlib.sha256(b"4567").hexdigest()},
    }
    assert manifest.entries() == {"a", "b", "manifest.json"}


@pytest.mark.parametrize("seal", [False, True])
def test_manifest__reads_what_it_wrote(folder: Path, seal: bool) -> None:
    manifest = Manifest.of(folder, {"format": 3, "version": "é"})
    manifest.write(folder, seal=seal)
    assert Manifest.read(folder) == manifest
    keys = ["format", "version", "files", *(["sha256"] if seal else [])]
    assert list(json.loads((folder / "manifest.json").read_text())) == keys


def test_damage__the_first_file_that_differs(folder: Path) -> None:
    manifest = Manifest.of(folder, {})
    (folder / "other").touch()
    assert manifest.damage(folder, checksums=True) is None
    (folder / "b" / "c").write_bytes(b"4568")
    assert manifest.damage(folder) is None  # the size is the same
    found = manifest.damage(folder, checksums=True)
    assert found == f"'{folder}/b/c' has changed since it was written (SHA-256)"
    assert manifest.damage(folder, checksums=True, names=["a"]) is None
    (folder / "b" / "c").write_bytes(b"4" * 4000)
    assert manifest.damage(folder) == f"'{folder}/b/c' has 4,000 bytes instead of 4"
    (folder / "b" / "c").unlink()
    assert manifest.damage(folder) == f"'{folder}/b/c' is missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"No such file"),
        ("no JSON", r"Expecting value"),
        ("[]", r"integer"),
        ("{}", r"'files'"),
        ('{"files": []}', r"items"),
        ('{"files": {"a": {"bytes": 3}}}', r"'sha256'"),
        ('{"files": {"a": {"bytes": "3", "sha256": "0"}}}', r"size and checksum of 'a'"),
    ],
)
def test_read__something_else(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match=rf"/manifest\.json' is not a readable manifest \(.*{message}"):
        Manifest.read(tmp_path)


def test_read__a_sealed_manifest_that_was_changed(folder: Path) -> None:
    Manifest.of(folder, {"step": 7}).write(folder, seal=True)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"step": 7', '"step": 8'))
    with pytest.raises(ManifestError, match=r"manifest\.json' has changed since it was written"):
        Manifest.read(folder)
