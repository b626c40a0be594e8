"""Modules of the user's own are imported before a config is checked, in this process and on every rank."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from interactrank.cli import main
from interactrank.core.settings import ConfigError
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.runs.config import load_config
from tests.trained import VALUES, raw_log

BASELINE = """
import torch
from interactrank.evaluation.scorers.registry import Baseline, register_baseline

class Same:
    def __call__(self, requests, candidates):
        size = (len(requests), len(requests.items)) if candidates is None else (len(candidates.values),)
        return torch.zeros(size)

register_baseline(Baseline(name="same", title="all the same", factory=lambda dataset, settings: Same()))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, in which a module may lie, and a config that names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    write(tmp_path, ["shop_plugin"])
    yield tmp_path
    sys.modules.pop("shop_plugin", None)
    if "same" in BASELINES:
        BASELINES.remove("same")


def write(folder: Path, plugins: list[str], **changes: object) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**VALUES, "plugins": plugins, **changes}))
    return path


def test_plugins__register_before_the_config_is_checked(here: Path) -> None:
    (here / "shop_plugin.py").write_text(BASELINE)
    config = load_config("run.yaml", ["models=[same]"])
    assert config.models == ("same",)
    (here / "again.yaml").write_text(config.dump())
    assert load_config("again.yaml").plugins == ("shop_plugin",)  # recorded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no module 'shop_plugin'; it must be installed, or lie in the working directory"),
        (
            "import not_there_at_all",
            "importing 'shop_plugin' fails: ModuleNotFoundError: No module named 'not_",
        ),
        ("x = 1\nx = 1 / 0", "ZeroDivisionError: division by zero .at .*shop_plugin.py:2"),
    ],
)
def test_plugins__one_that_cannot_be_imported_is_one_error(
    here: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (here / "shop_plugin.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config("run.yaml")


def test_plugins__are_a_list_of_names(here: Path) -> None:
    write(here, 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="plugins: "):
        load_config("run.yaml")


def test_plugins__a_baseline_is_evaluated(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "shop_plugin.py").write_text(BASELINE)
    raw_log(here / "log")
    write(here, ["shop_plugin"], models=["same", "bm25"])
    assert main(["prepare", "run.yaml", "--data", "log", "--output", "prepared"]) == 0
    assert main(["evaluate", "run.yaml", "--data", "prepared", "--output", "report"]) == 0
    assert list(json.loads((here / "report/metrics.json").read_text())["models"]) == ["same", "bm25"]


@pytest.mark.slow
def test_plugins__are_imported_on_every_rank(here: Path) -> None:
    """A plugin leaves a file for each process; the entry point does not search the working directory."""
    mark = "import os, pathlib\npathlib.Path(f'rank_{os.environ.get(\"RANK\")}').touch()"
    (here / "shop_plugin.py").write_text(mark)
    raw_log(here / "log")
    write(here, ["shop_plugin"], models=["interactrank"], ranks=2)
    command = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
    command += ["-m", "interactrank.cli", "run", "run.yaml", "--data", "log", "--output", "."]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in here.glob("rank_*")} == {"rank_None", "rank_0", "rank_1"}
    assert (here / "metrics.json").exists()  # --output . works
