import errno
import hashlib
import subprocess
import sys

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


def test_a_link_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "a.txt").symlink_to("disk/b.txt")  # nothing there yet
    for text in ("old", "new"):
        atomic_write_text(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").is_symlink()
        assert (tmp_path / "disk" / "b.txt").read_text() == text
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["b.txt"]


def test_an_empty_file_is_a_file(tmp_path):
    assert atomic_write_bytes(tmp_path / "a", b"").read_bytes() == b""


def test_the_mode_is_that_of_any_new_file(tmp_path):
    (tmp_path / "a").touch()
    atomic_write_bytes(tmp_path / "b", b"1")
    assert (tmp_path / "b").stat().st_mode == (tmp_path / "a").stat().st_mode


def test_what_a_killed_process_left_is_removed(tmp_path):
    code = (
        "import os, signal, sys; from interactrank.core.files import atomic_write\n"
        "atomic_write(sys.argv[1], lambda path: (path.write_bytes(b'half'), os.kill(os.getpid(), 9)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.bin")], timeout=120, check=False)
    assert done.returncode == -9
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"half"]
    (tmp_path / ".a.b.tmp.bin").touch()  # another name: not ours
    atomic_write_bytes(tmp_path / "a.bin", b"whole")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".a.b.tmp.bin", "a.bin"]


def test_what_a_live_process_writes_stays(tmp_path):
    def write(temporary):
        temporary.write_bytes(b"outer")
        code = (
            "import sys; from interactrank.core.files import atomic_write_bytes as w; w(sys.argv[1], b'in')"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.bin")], timeout=120, check=True)
        assert temporary.read_bytes() == b"outer"

    assert atomic_write(tmp_path / "a.bin", write).read_bytes() == b"outer"
