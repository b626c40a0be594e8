"""Result files: what they must hold, how they read as Markdown and as a picture.

    python -m benchmarks.report benchmarks/results/*.json       # check files
    python -m benchmarks.report --readme                        # renew the table of benchmarks/README.md

Keys of a row follow TorchRec's benchmark suite (``BenchmarkResult.to_dict``).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any, TypedDict

FORMAT = 1
HEAD = {
    "benchmark": str,
    "format": int,
    "question": str,
    "smoke": bool,
    "date": str,
    "command": str,
    "hardware": dict,
    "versions": dict,
    "load_before": list,
    "load_after": list,
    "results": list,
    "tables": list,
}
ROW = {"short_name": str, "group": str, "contestant": str, "unit": str, "work": (int, float), "rounds": int}
SPREADS = ("cpu_runtime_p{}_ms", "qps_p{}")
README = Path(__file__).parent / "README.md"
MARKS = ("<!-- table: python -m benchmarks.report --readme -->", "<!-- end of table -->")


class Table(TypedDict):
    """A further table of a result."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    note: str


def problems(result: Any) -> list[str]:
    """What is wrong with a result; empty if nothing is."""
    if not isinstance(result, dict):
        return [f"a result is an object, not {type(result).__name__}"]
    found = [f"{key}: absent" for key in HEAD if key not in result]
    found += [
        f"{key}: {type(result[key]).__name__} instead of {kind.__name__}"
        for key, kind in HEAD.items()
        if key in result and not isinstance(result[key], kind)
    ]
    if found:
        return found
    if result["format"] != FORMAT:
        return [f"format: {result['format']}; this reader knows {FORMAT}"]
    if not result["results"] and not result["tables"]:
        found.append("results and tables: both are empty")
    for key in ("name", "cores", "threads", "bf16_instructions"):
        if key not in result["hardware"]:
            found.append(f"hardware.{key}: absent")
    names: set[str] = set()
    for number, row in enumerate(result["results"]):
        where = f"results[{number}]"
        if not isinstance(row, dict):
            found.append(f"{where}: not an object")
            continue
        found += [f"{where}.{problem}" for problem in _row_problems(row)]
        if row.get("short_name") in names:
            found.append(f"{where}.short_name: {row['short_name']!r} occurs twice")
        names.add(str(row.get("short_name")))
    for number, table in enumerate(result["tables"]):
        widths = {len(row) for row in table["rows"]} - {len(table["columns"])}
        if widths:
            found.append(f"tables[{number}]: rows of {sorted(widths)} cells, {len(table['columns'])} columns")
    if re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", json.dumps(result)):
        found.append("a path of the machine is in the result")
    return found


def _row_problems(row: dict[str, Any]) -> list[str]:
    found = [
        f"{key}: absent or of a wrong type" for key, kind in ROW.items() if not isinstance(row.get(key), kind)
    ]
    spreads = list(SPREADS)
    if "ratio_to" in row:
        spreads.append("ratio_p{}")
    for pattern in spreads:
        keys = [pattern.format(p) for p in (10, 50, 90)]
        values = [row.get(key) for key in keys]
        if not all(isinstance(v, int | float) and math.isfinite(v) and v > 0 for v in values):
            found.append(f"{pattern.format('*')}: {values}; three numbers above 0 are needed")
        elif sorted(values) != values:
            found.append(f"{pattern.format('*')}: {values} do not rise")
    if "target" in row and "ratio_to" not in row:
        found.append("target: without ratio_to")
    return found


def write(result: dict[str, Any], folder: Path) -> Path:
    """Write ``<name>_<hardware>_<date>`` as .json and .md; returns the path of the JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['benchmark']}_{result['hardware']['name']}_{result['date']}.json"
    path.write_text(json.dumps(_rounded(result), indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(result))
    return path


def markdown(result: dict[str, Any]) -> str:
    """The result as a page."""
    h = result["hardware"]
    lines = [
        f"# {result['benchmark']}",
        "",
        result["question"],
        "",
        f"`{result['command']}`",
        "",
        f"{h.get('gpu') or h['cpu']}, {h['cores']} cores ({h['vector']}, bf16 instructions: "
        f"{', '.join(h['bf16_instructions']) or 'none'}), {h['threads']} threads; "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        + f"; load {result['load_before'][0]} before, {result['load_after'][0]} after; {result['date']}",
        "",
    ]
    if result["smoke"]:
        lines += ["**A run at a tiny size, to see that the script works: its numbers say nothing.**", ""]
    if result["results"]:
        lines += _results_table(result)
    for table in result["tables"]:
        lines += ["", f"## {table['title']}", ""]
        lines += table_lines(table["columns"], table["rows"])
        if table["note"]:
            lines += ["", table["note"]]
    return "\n".join(lines) + "\n"


def line(row: dict[str, Any]) -> str:
    """A row in one line, while a script runs."""
    ratio = f"  {_range(row, 'ratio_p{}', 'x')}" if "ratio_to" in row else ""
    return f"{row['short_name']}: {_range(row, 'cpu_runtime_p{}_ms', ' ms')}{ratio}"


def _results_table(result: dict[str, Any]) -> list[str]:
    rows = result["results"]
    gpu, memory = (any(key in r for r in rows) for key in ("gpu_runtime_p50_ms", "cpu_peak_rss_p50_mb"))
    columns = ["group", "contestant", "ms p50 (p10-p90)", "units/s p50", "ratio p50 (p10-p90)"]
    columns += ["of CPU time", "target"]
    columns += ["GPU ms p50"] * gpu + ["peak MB", "of the baseline"] * memory
    cells = []
    for r in rows:
        row = [
            r["group"],
            r["contestant"],
            _range(r, "cpu_runtime_p{}_ms"),
            f"{r['qps_p50']:,.0f} {r['unit']}",
        ]
        row.append(_range(r, "ratio_p{}") if "ratio_to" in r else "")
        row.append(_cell(r.get("cpu_time_ratio_p50", "")))
        row.append(f"{r['target']:g}: {verdict(result, r)}" if "target" in r else "")
        if gpu:
            row.append(_cell(r.get("gpu_runtime_p50_ms", "")))
        if memory:
            peak = r.get("gpu_peak_alloc_p50_mb", r.get("cpu_peak_rss_p50_mb", ""))
            row += [_cell(peak), _cell(r.get("memory_ratio", ""))]
        cells.append(row)
    return table_lines(columns, cells)


def verdict(result: dict[str, Any], row: dict[str, Any]) -> str:
    """Whether a row reached its target.

    One thread on a CPU is judged by its CPU time, which other processes of the machine disturb less; not
    where the row says ``judged_by`` wall, as one of several ranks.
    """
    by_cpu = judged_by_cpu_time(result, row)
    ratio = row.get("cpu_time_ratio_p50", row["ratio_p50"]) if by_cpu else row["ratio_p50"]
    return "reached" if ratio >= row["target"] else "missed"


def judged_by_cpu_time(result: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether CPU time says more of this row than the wall clock."""
    alone = result["hardware"]["threads"] == 1 and "gpu_runtime_p50_ms" not in row
    return alone and row.get("judged_by") != "wall"


def cost_ms(result: dict[str, Any], row: dict[str, Any]) -> float:
    """Median milliseconds of a call, by the clock that the row is judged by."""
    if judged_by_cpu_time(result, row):
        return float(row.get("cpu_time_p50_ms", row["cpu_runtime_p50_ms"]))
    return float(row["cpu_runtime_p50_ms"])


def _range(row: dict[str, Any], pattern: str, unit: str = "") -> str:
    low, middle, high = (_cell(row[pattern.format(p)]) for p in (10, 50, 90))
    return f"{middle}{unit} ({low}-{high})"


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table_lines(columns: list[str], rows: list[list[Any]]) -> list[str]:
    """A table in Markdown; numbers with three significant digits."""
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(map(_cell, row)) + " |" for row in rows),
    ]


def _rounded(value: Any) -> Any:
    """Five significant digits: no measurement here has more."""
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def readme_table(folder: Path) -> str:
    """Every ratio that has a target, of the newest result of each benchmark on each hardware."""
    newest: dict[tuple[str, str], tuple[Path, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        if "format" in result and not result["smoke"]:
            key = (result["benchmark"], result["hardware"]["name"])
            if key not in newest or newest[key][1]["date"] <= result["date"]:
                newest[key] = (path, result)
    rows = []
    for path, result in newest.values():
        page = f"[{result['benchmark']}](results/{path.with_suffix('.md').name})"
        for r in result["results"]:
            if "target" in r:
                cells = [page, result["hardware"]["name"], r["group"], r["contestant"]]
                rows.append(
                    [
                        *cells,
                        _range(r, "ratio_p{}"),
                        _cell(r["cpu_time_ratio_p50"]),
                        f"{r['target']:g}",
                        verdict(result, r),
                    ]
                )
    columns = [
        "result",
        "hardware",
        "group",
        "contestant",
        "ratio p50 (p10-p90)",
        "of CPU time",
        "target",
        "",
    ]
    return "\n".join(table_lines(columns, rows))


def with_table(page: str, table: str) -> str:
    """``page`` with what lies between the marks replaced.

    Raises:
        ValueError: the page lacks a mark.
    """
    for mark in MARKS:
        if page.count(mark) != 1:
            raise ValueError(f"the page needs the line {mark!r} exactly once")
    before, rest = page.split(MARKS[0])
    return f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Check result files, or renew the table of the README.")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    wrong = 0
    for path in options.files:
        found = problems(json.loads(path.read_text()))
        wrong += bool(found)
        print(f"{path.name}: {'; '.join(found) or 'valid'}")
    if options.readme:
        README.write_text(with_table(README.read_text(), readme_table(README.parent / "results")))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
