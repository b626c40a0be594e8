"""The demo, from an installed package: its config lies in the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SMALL = [
    *("users=40", "items=120", "intents=10", "topics=4", "requests=300", "pool=30"),
    *("candidates_min=5", "candidates_max=10"),
]


@pytest.mark.slow
def test_demo__from_a_wheel_outside_of_the_repository(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="68")
    source = tmp_path / "source"
    root = Path(__file__).parents[2]
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{root}", source], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "-w", tmp_path, source], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "interactrank/configs/demo.yaml" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "tools/"))]
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    here = tmp_path / "elsewhere"
    here.mkdir()
    command = [sys.executable, "-m", "interactrank.cli", "demo", *(f"simulate.{s}" for s in SMALL)]
    command += ["training.steps=2", "training.epochs=null", "evaluation.resamples=100", "prepare.threads=1"]
    done = subprocess.run(
        [*command, "ranks=1"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "its report is in runs/demo" in done.stderr
    models = json.loads((here / "runs/demo/metrics.json").read_text())["models"]
    assert list(models) == ["interactrank", "two_tower", "bm25"]
