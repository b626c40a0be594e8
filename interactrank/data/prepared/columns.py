"""Names of the parts and columns of a prepared dataset."""

from __future__ import annotations

__all__ = ["SPLITS"]

SPLITS = ("train", "validation", "test")
