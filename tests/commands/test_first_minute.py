"""``init`` and ``check``: from a log to a config, and to what it makes of the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interactrank.cli import main
from tests.data.guess.test_config import shop, write


def test_init_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, config = write(tmp_path / "log", *shop(100), text=True), tmp_path / "mine.yaml"
    assert main(["init", str(log), "--output", str(config)]) == 0
    assert f"interactrank check {config} --data {log}" in capsys.readouterr().out
    assert main(["init", log.as_uri(), "--output", str(config)]) == 1
    assert f"'{config}' exists" in capsys.readouterr().err
    assert main(["check", str(config), "--data", str(log)]) == 0
    assert "rows of events" in capsys.readouterr().out
    assert main(["check", str(config), "--data", log.as_uri(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["candidates"]["max"]) == ({"events": 400, "items": 40}, 4)
    assert [leak["column"] for leak in found["leaks"]] == ["events.revenue"]
    assert not [p for p in tmp_path.iterdir() if p not in (log, config)]  # nothing is built


def test_check_of_a_log_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "nothing"), "--output", str(tmp_path / "c.yaml")]) == 1
    assert "no folder" in capsys.readouterr().err
    assert not (tmp_path / "c.yaml").exists()
