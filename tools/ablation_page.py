"""Writes the tables of a finished ablation into a page.

    python -m tools.ablation_page benchmarks/results/ablation_demo_cpu_2026-11-26.json \\
        docs/results.md ablation-demo

It replaces what stands between ``<!-- ablation-demo:begin -->`` and ``<!-- ablation-demo:end -->``. Where a
picture lies next to the file, under its name with .png, it is shown above the tables.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from interactrank.experiments.page import markdown
from tools.readme_table import replace_from_file


def block(result: Path, page: Path) -> str:
    """Return what stands between the markers.

    Args:
        result: an ``ablation.json``.
        page: that it is written into; the picture's link starts at its folder.
    """
    text = markdown(json.loads(result.read_text()))
    picture = result.with_suffix(".png")
    if not picture.exists():
        return text
    return f"![What each part adds]({os.path.relpath(picture, page.parent)})\n\n{text}"


if __name__ == "__main__":
    replace_from_file(__doc__, block)
