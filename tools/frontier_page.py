"""Writes the table and the picture of a frontier into a page.

    python -m tools.frontier_page benchmarks/results/frontier_lastfm_epyc_avx512_2core_2026-11-27.json \\
        docs/results.md frontier-lastfm

It replaces what stands between ``<!-- frontier-lastfm:begin -->`` and ``<!-- frontier-lastfm:end -->``. Where
a picture lies next to the file, under its name with .png, it is shown above the table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interactrank.core.markdown import bold, markdown_table
from tools.readme_table import replace_from_file

HEADS = ["us a candidate p50", "p90", "look-up", "one more", "us a request", "operations"]


def block(result: Path, page: Path) -> str:
    """Return what stands between the markers; models on the frontier are bold.

    Args:
        result: a file of ``benchmarks.frontier``.
        page: that it is written into; the picture's link starts at its folder.
    """
    content = json.loads(result.read_text())
    (table,) = content["tables"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    metric = table["title"].partition(": ")[2]
    text = markdown_table(["model", metric, *HEADS], map(_cells, rows))
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    parts = [text, table["note"], f"{content['hardware']['cpu']}; {versions}."]
    picture = result.with_suffix(".png")
    if picture.exists():
        parts.insert(0, f"![{metric} against cost]({os.path.relpath(picture, page.parent)})")
    return "\n\n".join(parts)


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    quality = f"{row['quality']:.3f}"
    if row["low"] is not None:
        quality += f" ({row['low']:.3f}-{row['high']:.3f})"
    numbers = ["-" if row[head] is None else f"{row[head]:,.3g}" for head in HEADS[:-2]]
    whole = ["-" if row[head] is None else f"{row[head]:,.0f}" for head in HEADS[-2:]]
    return [bold(row["model"], bool(row["on the frontier"])), quality, *numbers, *whole]


if __name__ == "__main__":
    replace_from_file(__doc__, block)
