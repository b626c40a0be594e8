"""An append that is killed leaves the dataset as it was, or as it was to become."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interactrank.core.manifest import Manifest
from interactrank.data import prepare_log
from interactrank.data.prepare.append import append_log
from tests.data import logs
from tests.data.prepare.test_append import SCHEMA, by_day, how

# The package is imported once, and each append runs in a fork that is killed at a random moment.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from interactrank.data.prepare.append import append_log
from tests.data.prepare.test_append import SCHEMA, how

def appending(data):
    pid = os.fork()
    if pid == 0:
        append_log(Path(sys.argv[1]), Path(data), SCHEMA, how())
        os._exit(0)
    return pid

start = time.monotonic()
assert os.waitpid(appending(sys.argv[2]), 0)[1] == 0
took = time.monotonic() - start
random.seed(int(sys.argv[3]))
for data in sys.argv[4:]:
    pid = appending(data)
    time.sleep(random.uniform(0.2, 1.05) * took)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


@pytest.mark.slow
def test_killed__the_old_or_the_new_stays(tmp_path: Path) -> None:
    events, items, users = logs.random_log(5, requests=40)
    first, last = by_day(events, [40])
    log = logs.write_log(tmp_path / "log", first, items, users)
    day = logs.write_log(tmp_path / "day", last, items, users)
    data = [tmp_path / f"data{n}" for n in range(6)]
    for folder in data:
        prepare_log(log, folder, SCHEMA, how())
    old = json.loads((data[0] / "manifest.json").read_text())["fingerprint"]
    arguments = [str(day), *map(str, data[:1]), "3", *map(str, data[1:])]
    subprocess.run([sys.executable, "-c", KILLER, *arguments], check=True, timeout=300)
    new = json.loads((data[0] / "manifest.json").read_text())["fingerprint"]
    found = set()
    for folder in data[1:]:
        manifest = json.loads((folder / "manifest.json").read_text())
        assert Manifest(files=manifest["files"]).damage(folder, checksums=True) is None
        found.add(manifest["fingerprint"])
    assert old in found
    assert found <= {old, new}
    assert (
        append_log(day, data[1], SCHEMA, how())["fingerprint"] == new
    )  # and what was killed can be done again
    left = [p.name for p in tmp_path.iterdir() if p.name.startswith(".data1")]
    assert left == []
