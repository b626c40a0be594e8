"""The config of a small loop."""

from __future__ import annotations

from functools import cache
from importlib import resources

from interactrank.commands.simulate_loop import TINY
from interactrank.runs.config import RunConfig, load_config


@cache
def config(*overrides: str) -> RunConfig:
    """The demo's config in the size of ``--tiny``, and smaller."""
    small = ("simulate.requests=500", "training.epochs=1", "prepare.threads=1", "loader.prefetch=0")
    with resources.as_file(resources.files("interactrank") / "configs" / "demo.yaml") as path:
        return load_config(path, [*TINY, *small, *overrides])
