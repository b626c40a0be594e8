from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interactrank.checkpoint.lock import FolderLock
from interactrank.distributed.world import process_group
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.toy import ToyLoader, ToyModel

HOLD = """
import sys, time
from pathlib import Path
from interactrank.checkpoint.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_folder_is_locked_until_its_process_dies_however_it_dies(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        mine = FolderLock(tmp_path)
        with pytest.raises(ValueError, match=rf"another training \(process {other.pid} on .*stop it"):
            mine.acquire(wait_s=0)
        other.send_signal(signal.SIGKILL)
    mine.acquire()  # the system lets go when the process is gone
    mine.release()


def test_a_second_training_in_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interactrank.checkpoint.lock.FolderLock.acquire.__defaults__", (0.0,))
    first = FolderLock(tmp_path)
    first.acquire()
    with process_group("cpu"), pytest.raises(ValueError, match=rf"process {os.getpid()} on"):
        train(ToyModel(), ToyLoader(), TrainingSettings(steps=2), tmp_path)
    first.release()
    with process_group("cpu"):
        assert train(ToyModel(), ToyLoader(), TrainingSettings(steps=2), tmp_path).step == 2


def test_letting_go_twice_or_without_holding_does_nothing(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.release()
    lock.acquire()
    lock.release()
    lock.release()
    lock.acquire()
    lock.release()
