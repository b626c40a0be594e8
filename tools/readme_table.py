"""Writes the table of a finished run into a page.

    python tools/readme_table.py runs/demo/metrics.json README.md

It replaces what stands between ``<!-- demo:begin -->`` and ``<!-- demo:end -->``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- demo:begin -->", "<!-- demo:end -->"
METRICS = ["hit@3", "hit@10", "mrr", "ndcg@10", "recall@100", "auc"]
NAMES = {"interactrank": "InteractRank", "two_tower": "two-tower", "bm25": "BM25"}


def markdown_table(report: dict[str, Any]) -> str:
    """Models by metrics, each value with its interval; the best value of a metric is bold.

    Args:
        report: what ``metrics.json`` holds.
    """
    models = report["models"]
    shown = [m for m in METRICS if all(m in metrics for metrics in models.values())]
    lines = ["| | " + " | ".join(m.upper() for m in shown) + " |", "| --- |" + " --- |" * len(shown)]
    for model in sorted(models, key=lambda name: models[name][shown[0]]["value"]):
        cells = []
        for m in shown:
            v = models[model][m]
            best = v["value"] == max(metrics[m]["value"] for metrics in models.values())
            value = f"**{v['value']:.3f}**" if best else f"{v['value']:.3f}"
            cells.append(f"{value} ({v['low']:.3f}-{v['high']:.3f})")
        lines.append(f"| {NAMES.get(model, model)} | " + " | ".join(cells) + " |")
    optimum = report["data"].get("optimum", {})
    if optimum:
        cells = [f"{optimum[m]:.3f}" if m in optimum else "" for m in shown]
        lines.append("| the optimum | " + " | ".join(cells) + " |")
    versions = ", ".join(f"{name} {report['versions'][name]}" for name in ("torch", "torchrec", "fbgemm"))
    return "\n".join(lines) + f"\n\nIn brackets: 95 % bootstrap intervals. {versions}."


def replace_block(page: str, table: str) -> str:
    """The page with the table between the markers.

    Raises:
        ValueError: the page has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    metrics, page = map(Path, sys.argv[1:])
    page.write_text(replace_block(page.read_text(), markdown_table(json.loads(metrics.read_text()))))
