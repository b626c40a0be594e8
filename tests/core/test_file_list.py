"""Files that differ from what was listed are named."""

from __future__ import annotations

from pathlib import Path

from interactrank.core.file_list import find_damage, list_files


def test_what_differs_is_named(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b" / "c").write_bytes(b"4567")
    files = list_files(tmp_path)
    assert [(name, of["bytes"]) for name, of in files.items()] == [("a", 3), ("b/c", 4)]
    (tmp_path / "other").touch()
    assert find_damage(tmp_path, files, checksums=True) is None
    (tmp_path / "b" / "c").write_bytes(b"4568")
    assert find_damage(tmp_path, files) is None
    found = find_damage(tmp_path, files, checksums=True)
    assert found == f"'{tmp_path}/b/c' has another content than was prepared"
    (tmp_path / "b" / "c").write_bytes(b"4" * 4000)
    assert find_damage(tmp_path, files) == f"'{tmp_path}/b/c' has 4,000 bytes, not the 4 that were prepared"
    (tmp_path / "b" / "c").unlink()
    assert find_damage(tmp_path, files) == f"'{tmp_path}/b/c' is missing"
