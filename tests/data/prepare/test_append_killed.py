"""An append, forget or compact that is killed leaves the dataset as it was, or as it was to become."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from interactrank.core.manifest import Manifest
from interactrank.data import prepare_log
from interactrank.data.prepare.append import append_log
from interactrank.data.prepared.dataset import PreparedDataset
from tests.data import logs
from tests.data.prepare.test_append import SCHEMA, by_day, how

# The package is imported once, and each change runs in a fork that is killed at a random moment.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from interactrank.data.prepare.append import append_log
from interactrank.data.prepare.forget import compact_dataset, forget_user
from tests.data.prepare.test_append import SCHEMA, how

verb, day, whole, seed, *others = sys.argv[1:]
change = {
    "append": lambda data: append_log(Path(day), data, SCHEMA, how()),
    "forget": lambda data: forget_user(data, "u1"),
    "compact": compact_dataset,
}[verb]

def start(data):
    pid = os.fork()
    if pid == 0:
        change(Path(data))
        os._exit(0)
    return pid

begin = time.monotonic()
assert os.waitpid(start(whole), 0)[1] == 0
took = time.monotonic() - begin
random.seed(int(seed))
for data in others:
    pid = start(data)
    time.sleep(random.uniform(0.1, 1.1) * took)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


def state(folder: Path) -> tuple[str, tuple[str, ...]]:
    """What tells a dataset before and after; it is whole."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert Manifest(files=manifest["files"]).damage(folder, checksums=True) is None
    PreparedDataset(folder)
    return manifest["fingerprint"], tuple(n for n in manifest["files"] if n.startswith("log/events"))


def kill(folder: Path, verb: str, kills: int, seed: int = 3) -> dict[str, int]:
    """Kill a change that often; return how many datasets were left as before and as after."""
    events, items, users = logs.random_log(5, requests=40)
    first, second, last = by_day(events, [20, 40])
    log = logs.write_log(folder / "log", first, items, users)
    prepare_log(log, folder / "data0", SCHEMA, how())
    append_log(logs.write_log(folder / "second", second, items, users), folder / "data0", SCHEMA, how())
    day = logs.write_log(folder / "day", last, items, users)
    data = [folder / f"data{n}" for n in range(kills + 1)]
    for copy in data[1:]:
        shutil.copytree(data[0], copy)
    old = state(data[0])
    arguments = [verb, str(day), str(data[0]), str(seed), *map(str, data[1:])]
    subprocess.run([sys.executable, "-c", KILLER, *arguments], check=True, timeout=600)
    new = state(data[0])
    assert new != old
    found = [state(copy) for copy in data[1:]]
    assert set(found) <= {old, new}
    return {"before": found.count(old), "after": found.count(new)}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["append", "forget", "compact"])
def test_killed__the_old_or_the_new_stays(tmp_path: Path, verb: str) -> None:
    left = kill(tmp_path, verb, 4)
    assert left["before"] + left["after"] == 4


@pytest.mark.slow
def test_killed__it_can_be_done_again(tmp_path: Path) -> None:
    kill(tmp_path, "append", 1)
    manifest = append_log(tmp_path / "day", tmp_path / "data1", SCHEMA, how())
    assert manifest["fingerprint"] == state(tmp_path / "data0")[0]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".data1")] == []
