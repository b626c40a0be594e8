"""Result files of scripts whose result is a table of their own, not rounds of contestants."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, report


def write(
    name: str,
    question: str,
    tables: list[report.Table],
    *,
    smoke: bool,
    load_before: list[float],
    folder: Path,
    device: torch.device = torch.device("cpu"),  # noqa: B008 (never changes)
) -> Path:
    """Write and print a result; returns the path of the JSON file."""
    result: dict[str, Any] = {
        "benchmark": name,
        "format": report.FORMAT,
        "question": question,
        "smoke": smoke,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": f"python -m benchmarks.{Path(sys.argv[0]).stem}{_given()}",
        "hardware": machine.describe(device),
        "versions": machine.versions(),
        "load_before": load_before,
        "load_after": machine.load(),
        "results": [],
        "tables": tables,
    }
    if problems := report.problems(result):
        raise RuntimeError("the result does not validate: " + "; ".join(problems))
    path = report.write(result, folder)
    print(report.markdown(result))
    print(f"written: {path}")
    return path


def _given() -> str:
    """The options of this call, without those that name a folder of this machine."""
    given = iter(sys.argv[1:])
    kept = []
    for text in given:
        if text in ("--output", "--folder", "--run"):
            next(given, None)
        else:
            kept.append(text)
    return "".join(f" {text}" for text in kept)
