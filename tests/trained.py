"""The config of a small run, and a raw log for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import parse_config
from interactrank.runs.config import RunConfig
from tests.data import logs
from tests.models.search import SMALL

VALUES: dict[str, Any] = {
    "schema": {**logs.SCHEMA, "events": {k: v for k, v in logs.SCHEMA["events"].items() if k != "split"}},
    "prepare": {"threads": 1, "split": {"test_share": 0.2}},
    "loader": {"batch_requests": 16, "prefetch": 0},
    "model": SMALL,
    "training": {"steps": 2, "log_every": 1, "device": "cpu"},
    "evaluation": {"resamples": 100},
}


def config(*overrides: str) -> RunConfig:
    """The small run with other settings."""
    return parse_config(RunConfig, apply_overrides(VALUES, overrides))


def raw_log(folder: Path, requests: int = 60) -> Path:
    """A random log with impressions and every kind of feature."""
    return logs.write_log(folder, *logs.random_log(3, requests=requests))
