"""Writes the table of a finished run into a page.

    python tools/readme_table.py runs/demo/metrics.json README.md demo

It replaces what stands between ``<!-- demo:begin -->`` and ``<!-- demo:end -->``. With ``--paired`` the
differences between the first model and the others follow, request by request.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

METRICS = ["hit@3", "hit@10", "mrr", "ndcg@10", "recall@100", "auc"]
DIFFERENCES = ["hit@3", "hit@10", "mrr"]
NAMES = {"interactrank": "InteractRank", "two_tower": "two-tower", "bm25": "BM25", "counts": "C(p, q) / C(q)"}


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
        lines.append(f"| {_name(model)} | " + " | ".join(cells) + " |")
    optimum = report["data"].get("optimum", {})
    if optimum:
        cells = [f"{optimum[m]:.3f}" if m in optimum else "" for m in shown]
        lines.append("| the optimum | " + " | ".join(cells) + " |")
    versions = ", ".join(f"{name} {report['versions'][name]}" for name in ("torch", "torchrec", "fbgemm"))
    return "\n".join(lines) + f"\n\nIn brackets: 95 % bootstrap intervals. {versions}."


def paired_lines(report: dict[str, Any]) -> str:
    """A line for each pair of models: the differences of the headline metrics.

    Args:
        report: what ``metrics.json`` holds.
    """
    lines = []
    for pair, metrics in report["paired"].items():
        first, second = pair.split(" - ")
        found = [
            f"{m.upper()} {d['difference']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})"
            for m, d in metrics.items()
            if m in DIFFERENCES
        ]
        lines.append(f"- {_name(first)} minus {_name(second)}: {', '.join(found)}")
    return "\n".join(lines)


def replace_block(page: str, text: str, name: str = "demo") -> str:
    """The page with the text between the markers of that name.

    Raises:
        ValueError: the page has no such markers.
    """
    first, last = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page has no {first} ... {last}")
    return f"{before}{first}\n{text}\n{last}{after}"


def _name(model: str) -> str:
    return NAMES.get(model, model.replace("_", " "))


def main() -> None:
    """Replace the block of a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("name", nargs="?", default="demo")
    parser.add_argument("--paired", action="store_true")
    options = parser.parse_args()
    report = json.loads(options.metrics.read_text())
    text = markdown_table(report)
    if options.paired:
        text += "\n\nDifferences, request by request:\n\n" + paired_lines(report)
    options.page.write_text(replace_block(options.page.read_text(), text, options.name))


if __name__ == "__main__":
    main()
