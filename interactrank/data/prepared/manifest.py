"""The manifest of a prepared dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["FORMAT", "read_manifest"]

FORMAT = 6


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a prepared dataset; None if there is none."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "fingerprint" in manifest else None
