"""Stages note what they take, add up under one name, and leave the logger as it was."""

from __future__ import annotations

import logging

import pytest

from interactrank.core.stages import stage, stages_to


def test_stage__is_told_when_debugging(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test of the process may have set logging up for the command line.
    logger = logging.getLogger("interactrank")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])
    with caplog.at_level(logging.INFO, "interactrank"), stage("quiet"):
        pass
    with caplog.at_level(logging.DEBUG, "interactrank"), stage("told"):
        pass
    (record,) = caplog.records
    assert record.getMessage().startswith("told: 0.0")
    assert record.__dict__["stage"][0] == "told"


def test_stages_to__adds_what_has_one_name(caplog: pytest.LogCaptureFixture) -> None:
    with stages_to({}) as found:
        for _ in range(2):
            with stage("sums"):
                sum(range(1000))
        with stage("other"):
            pass
        once = dict(found)
        with stage("sums"):
            sum(range(1000))
    assert list(found) == ["sums", "other"]
    assert found["sums"][0] > once["sums"][0] > 0
    assert found["other"] == once["other"]
    with stage("after"):
        pass
    assert list(found) == ["sums", "other"]
    assert not caplog.records


def test_stage__an_error_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with stages_to({}) as found, pytest.raises(ValueError, match="no"), stage("failed"):
        raise ValueError("no")
    assert found == {}
