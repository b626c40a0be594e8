import errno
import hashlib

import pytest

from interactrank.core.files import atomic_write, atomic_write_bytes, atomic_write_text, sha256


def test_writes_text_and_makes_folders(tmp_path):
    path = atomic_write_text(tmp_path / "a" / "b.json", "{}\n")
    assert path.read_bytes() == b"{}\n"
    assert [file.name for file in path.parent.iterdir()] == ["b.json"]


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    suffixes = []
    atomic_write(tmp_path / "plot.png", lambda path: (suffixes.append(path.suffix), path.write_bytes(b"x")))
    assert suffixes == [".png"]


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = atomic_write_bytes(tmp_path / "a.bin", b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_writes_elsewhere_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="the writer left no file at"):
        atomic_write(tmp_path / "a.bin", lambda path: None)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_which_file_could_not_be_written(tmp_path):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        atomic_write(tmp_path / "a.txt", full)
    assert list(tmp_path.iterdir()) == []


def test_the_checksum_is_that_of_the_whole_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 10**6)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 10**6).hexdigest()
