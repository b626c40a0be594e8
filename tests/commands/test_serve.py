"""The settings of a service: from a file, and from arguments that win over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interactrank.cli import main
from interactrank.server import supervisor
from interactrank.server.settings import ServerSettings

CONFIG = """
models:
  main: {export: exports/demo, share: 0.9}
  trial: {export: exports/trial, share: 0.1}
workers: 2
limits: {candidates: 5000}
log: {folder: served, shown: 7}
"""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[ServerSettings]:
    """What would be served."""
    found: list[Any] = []
    monkeypatch.setattr(supervisor, "serve", lambda settings: found.append(settings) or 0)
    return found


def test_a_config_and_arguments(tmp_path: Path, given: list[ServerSettings]) -> None:
    (tmp_path / "serve.yaml").write_text(CONFIG)
    words = ["--port", "9000", "--events", "redis://host/name", "--log", str(tmp_path / "elsewhere")]
    assert main(["serve", "--config", str(tmp_path / "serve.yaml"), *words]) == 0
    (settings,) = given
    assert {name: of.share for name, of in settings.models.items()} == {"main": 0.9, "trial": 0.1}
    assert (settings.workers, settings.port, settings.events) == (2, 9000, "redis://host/name")
    assert settings.limits.candidates == 5000
    assert settings.log is not None
    assert (settings.log.folder, settings.log.shown) == (tmp_path / "elsewhere", 7)


def test_an_export_alone_is_the_model_main(given: list[ServerSettings]) -> None:
    assert main(["serve", "exports/demo"]) == 0
    (settings,) = given
    assert {name: str(of.export) for name, of in settings.models.items()} == {"main": "exports/demo"}
    assert (settings.host, settings.workers, settings.events, settings.log) == ("127.0.0.1", 1, None, None)


def test_mistakes_of_a_config_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "serve.yaml").write_text("models: {a: {exprot: x}}\nworkers: 0\n")
    assert main(["serve", "--config", str(tmp_path / "serve.yaml")]) == 1
    error = capsys.readouterr().err
    assert "models.a.exprot: unknown key; did you mean 'export'?" in error
    assert "workers: input should be greater than or equal to 1" in error
