"""TorchRec component library for personalized search pre-ranking."""

import logging

from interactrank.core.versions import check, started_as_command
from interactrank.version import __version__

__all__ = ["__version__"]

logging.getLogger(__name__).addHandler(logging.NullHandler())

if not started_as_command():  # the command line does the same, after --help
    check()
    import interactrank.cross_features  # noqa: F401 (registers the kinds that the package brings)
