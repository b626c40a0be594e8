"""TorchRec component library for personalized search pre-ranking."""

from interactrank.version import __version__

__all__ = ["__version__"]
