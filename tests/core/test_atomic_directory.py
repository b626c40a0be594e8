"""A directory appears whole or not at all, whatever ends the process, and replaces only what it may."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interactrank.core import atomic_directory as module
from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.exchange import exchange

WRITER = """
import os, signal, sys, time
from pathlib import Path
from interactrank.core.atomic_directory import atomic_directory
with atomic_directory(sys.argv[1], replaces=["a", "manifest.json"]) as folder:
    (folder / "a").write_text("new")
    print("ready", flush=True)
    time.sleep(60)
"""


def start(path: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing the directory."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def write(path: Path, text: str = "new", replaces: tuple[str, ...] = ()) -> None:
    with atomic_directory(path, replaces=replaces) as folder:
        (folder / "a").write_text(text)
        (folder / "manifest.json").write_text("{}")


def fail(path: Path, error: BaseException) -> None:
    with atomic_directory(path, replaces=BOTH) as folder:
        (folder / "a").write_text("new")
        raise error


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


BOTH = ("a", "manifest.json")


def test_missing__is_made_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "x" / "y" / "out")
    assert names(tmp_path / "x" / "y") == ["out"]
    assert names(tmp_path / "x" / "y" / "out") == ["a", "manifest.json"]


def test_within_the_block__the_old_one_stays(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with atomic_directory(tmp_path / "out", replaces=BOTH) as folder:
        (folder / "a").write_text("new")
        assert folder.parent == tmp_path  # on the same file system, whatever TMPDIR says
        assert (tmp_path / "out" / "a").read_text() == "old"
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert names(tmp_path / "out") == ["a"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failure__leaves_the_old_one_and_no_parent(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path / "out", "old")
    for path in (tmp_path / "out", tmp_path / "deep" / "er" / "out"):
        with pytest.raises(type(error)):
            fail(path, error)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_other_entries__are_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"/out' is not empty, and 'notes.txt' in it may not be repl"):
        write(tmp_path / "out", replaces=BOTH)
    (tmp_path / "out" / "notes.txt").unlink()
    with pytest.raises(FileExistsError, match=r"/out' is not empty, and 'a' in it may not be replaced; name"):
        write(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_other_entries__that_came_meanwhile(tmp_path: Path) -> None:
    def write_while_another_does() -> None:
        with atomic_directory(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "notes").touch()

    with pytest.raises(FileExistsError, match="notes"):
        write_while_another_does()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["notes"]


def test_empty_directories__are_replaced(tmp_path: Path) -> None:
    (tmp_path / "out" / "test").mkdir(parents=True)
    write(tmp_path / "out")
    assert names(tmp_path / "out") == ["a", "manifest.json"]


def test_a_file__is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"/out' is a file; name a new directory"):
        write(tmp_path / "out")
    with pytest.raises(FileExistsError, match="/out"):
        write(tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_link__stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk/data")  # nothing there yet
    for text in ("old", "new"):
        write(tmp_path / "out", text, BOTH)
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "disk" / "data" / "a").read_text() == text
    assert names(tmp_path / "disk") == ["data"]
    assert names(tmp_path) == ["disk", "out"]


def test_the_working_directory__is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "below").mkdir(parents=True)
    for working, path in (("here/below", Path("..")), ("here", Path())):
        monkeypatch.chdir(tmp_path / working)
        for text in ("old", "new"):
            write(path, text, BOTH)
            assert (path / "a").read_text() == text  # seen by this process, too
    assert names(tmp_path / "here") == ["a", "below", "manifest.json"]
    assert names(tmp_path) == ["here"]


def test_the_working_directory__a_failure_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(), "old")
    with pytest.raises(RuntimeError):
        fail(Path(), RuntimeError())
    assert names(tmp_path) == ["a", "manifest.json"]
    assert Path("a").read_text() == "old"


def test_a_mount_point__is_filled_in_place_with_the_manifest_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mount").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "mount")
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (moved.append(Path(new).name), replace(old, new)))
    with atomic_directory(tmp_path / "mount") as folder:
        assert folder.parent == tmp_path / "mount"
        for name in ("manifest.json", "z", "a"):
            (folder / name).touch()
    assert moved == ["a", "z", "manifest.json"]
    assert names(tmp_path / "mount") == ["a", "manifest.json", "z"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk__is_named_and_keeps_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(OSError, match="/out") as error, atomic_directory(tmp_path / "out", replaces=BOTH):
        raise OSError(number, os.strerror(number))  # as a write does, without a name
    assert error.value.errno == number

    def full(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "fsync", full)  # network file systems notice late
    with pytest.raises(OSError, match="/out"):
        write(tmp_path / "out", "new", BOTH)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_a_swap__has_no_moment_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", "a")
    write(tmp_path / "b", "b")
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("names cannot be exchanged here")
    assert (tmp_path / "a" / "a").read_text() == "b"
    write(tmp_path / "out", "old")
    monkeypatch.setattr(os, "replace", None)  # nothing is renamed
    with atomic_directory(tmp_path / "out", replaces=BOTH) as folder:
        for name in BOTH:
            (folder / name).write_text("new")
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert names(tmp_path) == ["a", "b", "out"]


def test_a_failed_swap__puts_the_old_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out", "old")
    replace = os.replace
    monkeypatch.setattr(module, "exchange", lambda one, other: False)  # as on NFS

    def fail(old: Path, new: Path) -> None:
        if Path(old).suffix == ".tmp":
            raise OSError(errno.EIO, "Input/output error")
        replace(old, new)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "out", "new", BOTH)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_sigkill__the_old_stays_and_the_next_time_removes_the_rest(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    process = start(tmp_path / "out")
    process.kill()
    process.wait()
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert len(names(tmp_path)) == 2
    write(tmp_path / "out", "new", BOTH)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_sigkill__between_the_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left then: the old directory under a temporary name, and the new one.
    write(tmp_path / ".out.0123456789ab.old", "old")
    write(tmp_path / ".out.0123456789ab.tmp", "new")
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "out", replaces=BOTH):
        raise RuntimeError
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "old"
    write(tmp_path / ".out.0123456789ab.old", "older")  # killed before it was deleted
    write(tmp_path / "out", "new", BOTH)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_another_live_process__keeps_its_files(tmp_path: Path) -> None:
    process = start(tmp_path / "out")
    try:
        (temporary,) = tmp_path.iterdir()
        write(tmp_path / "out", "mine")
        assert (temporary / "a").read_text() == "new"
        assert names(tmp_path) == sorted([temporary.name, "out"])
    finally:
        process.kill()
        process.wait()


def test_without_locks__leftovers_stay_and_do_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    (tmp_path / ".out.0123456789ab.tmp").mkdir()
    write(tmp_path / "out")
    assert names(tmp_path) == [".out.0123456789ab.tmp", "out"]


def test_sigterm__removes_its_own_files_and_ends_the_process(tmp_path: Path) -> None:
    process = start(tmp_path / "deep" / "out")
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM
    deadline = time.monotonic() + 10
    while names(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert names(tmp_path) == []


def test_sigterm__handled_by_the_program_is_left_to_it(tmp_path: Path) -> None:
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with atomic_directory(tmp_path / "out") as folder:
            os.kill(os.getpid(), signal.SIGTERM)
            (folder / "a").touch()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert names(tmp_path / "out") == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only__parent_with_a_writable_directory(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    tmp_path.chmod(0o555)
    try:
        write(tmp_path / "out")
        with pytest.raises(PermissionError, match="/other"):
            write(tmp_path / "other")
    finally:
        tmp_path.chmod(0o755)
    assert names(tmp_path / "out") == ["a", "manifest.json"]


def test_read_only__as_access_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with atomic_directory(tmp_path / "out") as folder:
        assert folder.parent == tmp_path / "out"
        (folder / "a").touch()
    assert names(tmp_path / "out") == ["a"]
