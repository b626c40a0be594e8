"""Logging is as a library leaves it before each test, also after a test that ran the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline would make tests depend on how busy the machine is.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

SLOW = (
    "benchmarks",
    "checkpoint/test_background.py",
    "checkpoint/test_store.py",
    "experiments",
    "parity",
    "runs/test_workflow.py",
    "sharding/test_managed.py",
    "sharding/test_shard.py",
    "sharding/torchrec_patches/test_mean_pooling.py",
    "training/test_trainer.py",
)
"""Files and folders whose tests train models or start ranks; `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of :data:`SLOW`."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _library_logging() -> Iterator[None]:
    logger = logging.getLogger("interactrank")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers = propagate, handlers
