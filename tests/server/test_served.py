"""Users are split by shares, and each always gets one model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interactrank.core.settings import ConfigError, parse_config
from interactrank.server.failures import Refusal
from interactrank.server.served import Models
from interactrank.server.settings import ServerSettings
from interactrank.serving import ArtifactError
from tests.serving.exported import Exported


def models(a: Path, b: Path, share: float) -> Models:
    shares = {
        "a": {"export": str(a), "share": 1 - share},
        "b": {"export": str(b), "share": share},
    }
    settings = parse_config(ServerSettings, {"models": shares})
    return Models(settings.models, settings.limits)


def test_shares_are_kept_and_a_user_keeps_the_model(made: Exported) -> None:
    found = models(made.artifact, made.artifact, 0.3)
    names = [found.choose(None, {"user_id": f"u{n}", "query": "x"}).name for n in range(2000)]
    assert 0.26 < names.count("b") / 2000 < 0.34  # 0.3 +- 4 standard deviations of 0.01
    again = models(made.artifact, made.artifact, 0.3)
    assert [again.choose(None, {"user_id": f"u{n}", "query": "y"}).name for n in range(50)] == names[:50]


def test_without_a_user_the_session_decides_then_the_query(made: Exported) -> None:
    found = models(made.artifact, made.artifact, 0.5)
    of = [found.choose(None, {"session_id": "s1", "query": q}).name for q in "abcdefgh"]
    assert len(set(of)) == 1
    assert len({found.choose(None, {"user_id": None, "query": q}).name for q in "abcdefgh"}) == 2


def test_a_share_of_nothing_answers_only_by_name(made: Exported) -> None:
    found = models(made.artifact, made.artifact, 0.0)
    assert {found.choose(None, {"user_id": f"u{n}"}).name for n in range(100)} == {"a"}
    assert found.choose("b", {}).name == "b"
    with pytest.raises(Refusal, match="model: no 'c'; allowed: a, b"):
        found.choose("c", {})


def test_settings_that_cannot_be_used(made: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="models: no model has a share above 0"):
        parse_config(ServerSettings, {"models": {"a": {"export": "x", "share": 0}}})
    with pytest.raises(ConfigError, match="models"):
        parse_config(ServerSettings, {"models": {}})
    damaged = tmp_path / "damaged"
    shutil.copytree(made.artifact, damaged)
    next(damaged.glob("versions/*/model.safetensors")).write_bytes(b"x")
    with pytest.raises(ArtifactError, match="has 1 bytes instead of"):
        models(made.artifact, damaged, 0.5)
