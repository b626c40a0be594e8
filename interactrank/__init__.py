"""TorchRec component library for personalized search pre-ranking."""

import logging

import interactrank.cross_features  # noqa: F401 - registers the kinds that the package brings
from interactrank.core.versions import check, started_as_command
from interactrank.version import __version__

__all__ = ["__version__"]

logging.getLogger(__name__).addHandler(logging.NullHandler())

if not started_as_command():
    check()
