"""Both engines write the same bytes, also with an executor that is killed on the way; one without the library
is one error. Needs PySpark and Java.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interactrank.core.settings import parse_config
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.settings import PrepareSettings
from interactrank.data.spark import prepare_on_spark
from tests.data.logs import random_log, schema, write_log

pytest.importorskip("pyspark", reason="PySpark is not installed: pip install 'interactrank[spark]'")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Java is not installed, which Spark needs", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PARTS = {"spark.sql.shuffle.partitions": "3", "spark.executor.memory": "512m"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of three files of events: late engagements, ties, users that the users file lacks, sessions."""
    events, items, users = random_log(5, requests=120)
    folder = write_log(tmp_path / "log", events, items, users)
    whole = folder / "events.parquet"
    whole.unlink()
    (folder / "events").mkdir()
    for n in range(3):
        part = write_log(tmp_path / f"part{n}", events[n::3], items)
        (part / "events.parquet").rename(folder / "events" / f"{n}.parquet")
    return folder


def executors() -> list[int]:
    """Process ids of the executors that were started below this process."""
    parent, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if b"CoarseGrainedExecutorBackend" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue

    def is_ours(pid: int) -> bool:
        while pid in parent and pid != os.getpid():
            pid = parent[pid]
        return pid == os.getpid()

    return [pid for pid in found if is_ours(pid)]


@contextmanager
def one_executor_killed(folder: Path) -> Iterator[list[int]]:
    """Kill one executor once requests lie in the folder of a preparation's work; yield whom it killed."""
    stop, victims = threading.Event(), list[int]()

    def watch() -> None:
        while not victims and not stop.wait(0.2):
            if list(folder.glob(".*/work/placed/_SUCCESS")):
                victims.extend(executors()[:1])
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield victims
    finally:
        stop.set()
        thread.join()


def test_same_bytes_as_one_machine_with_an_executor_killed(log: Path, tmp_path: Path) -> None:
    settings = parse_config(PrepareSettings, {"threads": 1, "block_requests": 16, "file_requests": 30})
    sessions = schema("sequence.end=session")
    one = prepare_log(log, tmp_path / "local", sessions, settings)
    with one_executor_killed(tmp_path) as killed:
        many = prepare_on_spark(
            log, tmp_path / "spark", sessions, settings, master="local-cluster[2,1,1024]", config=PARTS
        )
    assert len(killed) == 1
    assert many["files"] == one["files"]  # names, sizes and SHA-256
    assert len([name for name in one["files"] if name.startswith("train/")]) > 1
    numbers = {name: pytest.approx(of, rel=1e-12) for name, of in one.pop("numbers").items()}
    assert many.pop("numbers") == numbers  # sums in another order
    assert {k: v for k, v in many.items() if k != "files"} == {k: v for k, v in one.items() if k != "files"}
    # The same log once more, by either engine, is known by its content.
    written = (tmp_path / "spark" / "manifest.json").stat().st_mtime_ns
    prepare_log(log, tmp_path / "spark", sessions, settings)
    assert (tmp_path / "spark" / "manifest.json").stat().st_mtime_ns == written


def test_an_executor_without_the_library(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without installed packages
    bare.chmod(0o755)
    monkeypatch.setenv("PYSPARK_PYTHON", str(bare))
    with pytest.raises(DatasetError, match=r"the executor on '.*' cannot take part: .*install it there"):
        prepare_on_spark(log, tmp_path / "out", schema(), PrepareSettings(), master="local[1]")
    assert not (tmp_path / "out").exists()
