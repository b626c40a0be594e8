"""Write the table of a finished run into a page.

    python tools/readme_table.py runs/demo/metrics.json README.md demo

It replaces what stands between ``<!-- demo:begin -->`` and ``<!-- demo:end -->``. With ``--paired`` the
differences between the first model and the others follow, request by request.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interactrank.core.markdown import bold, markdown_table
from interactrank.evaluation.metrics import headline, shown_name
from interactrank.evaluation.report import best_of, model_title

DIFFERENCES = 3  # of the first headline metrics


def comparison_table(report: dict[str, Any]) -> str:
    """Lay out models by metrics, each value with its interval; the best value of a metric is bold.

    Args:
        report: what ``metrics.json`` holds.
    """
    models = report["models"]
    shown = [m for m in headline(next(iter(models.values()))) if all(m in of for of in models.values())]
    best = {m: best_of({name: of[m]["value"] for name, of in models.items()}, m) for m in shown}
    rows = []
    for model in sorted(models, key=lambda name: models[name][shown[0]]["value"]):
        values = [models[model][m] for m in shown]
        cells = [
            bold(f"{v['value']:.3f}", model in best[m]) + f" ({v['low']:.3f}-{v['high']:.3f})"
            for m, v in zip(shown, values, strict=True)
        ]
        rows.append([model_title(model), *cells])
    optimum = report["data"].get("optimum", {})
    if optimum:
        rows.append(["the optimum", *(f"{optimum[m]:.3f}" if m in optimum else "" for m in shown)])
    versions = ", ".join(f"{name} {report['versions'][name]}" for name in ("torch", "torchrec", "fbgemm"))
    table = markdown_table(["", *(shown_name(m) for m in shown)], rows)
    return f"{table}\n\nIn brackets: 95 % bootstrap intervals. {versions}."


def paired_lines(report: dict[str, Any]) -> str:
    """Write a line for each pair of models: the differences of the first headline metrics.

    Args:
        report: what ``metrics.json`` holds.
    """
    lines = []
    for pair, metrics in report["paired"].items():
        first, second = pair.split(" - ")
        found = [
            f"{shown_name(m)} {d['difference']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})"
            for m, d in ((m, metrics[m]) for m in headline(metrics)[:DIFFERENCES])
        ]
        lines.append(f"- {model_title(first)} minus {model_title(second)}: {', '.join(found)}")
    return "\n".join(lines)


def replace_block(page: str, text: str, name: str = "demo") -> str:
    """Return the page with the text between the markers of that name.

    Raises:
        ValueError: the page has no such markers.
    """
    first, last = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page has no {first} ... {last}")
    return f"{before}{first}\n{text}\n{last}{after}"


def replace_from_file(description: str | None, block: Callable[[Path, Path], str]) -> None:
    """Run a tool: RESULT PAGE NAME replaces the block of that name in the page.

    Args:
        description: of the tool, for its help.
        block: the text, of the result's and the page's path.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("name")
    options = parser.parse_args()
    text = block(options.result, options.page)
    options.page.write_text(replace_block(options.page.read_text(), text, options.name))


def main() -> None:
    """Replace the block of a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("name", nargs="?", default="demo")
    parser.add_argument("--paired", action="store_true")
    options = parser.parse_args()
    report = json.loads(options.metrics.read_text())
    text = comparison_table(report)
    if options.paired:
        text += "\n\nDifferences, request by request:\n\n" + paired_lines(report)
    options.page.write_text(replace_block(options.page.read_text(), text, options.name))


if __name__ == "__main__":
    main()
