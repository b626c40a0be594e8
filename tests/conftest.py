"""Logging is as a library leaves it before each test, also after a test that ran the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _library_logging() -> Iterator[None]:
    logger = logging.getLogger("interactrank")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers = propagate, handlers
