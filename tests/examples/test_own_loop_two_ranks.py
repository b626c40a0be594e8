"""Example 05: a loop of one's own, from public parts alone, on two ranks."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "05_own_loop_two_ranks.py"
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(EXAMPLE))
TORCHX = ("torchx.cli.main", "run", "-s", "local_cwd", "dist.ddp", "-j", "1x2", "--script", str(EXAMPLE))


def test_example_05__is_under_100_lines_and_uses_public_names_alone() -> None:
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) < 100
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("interactrank"):
            public = importlib.import_module(str(node.module)).__all__
            assert {alias.name for alias in node.names} <= set(public), node.module
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr == "__init__", node.attr


def run(module: tuple[str, ...]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", [TORCHRUN, TORCHX], ids=["torchrun", "torchx"])
def test_example_05__two_ranks_resume_to_the_same_losses(module: tuple[str, ...]) -> None:
    assert re.search(r"2 ranks: loss 0\.7\d+ -> 0\.\d+, the same when resumed at 10", run(module))
