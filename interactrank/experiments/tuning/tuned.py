"""``tuned.yaml``: the config with the best settings of every model that was tuned in a directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interactrank.core.files import atomic_write_text
from interactrank.core.search_space import find_places
from interactrank.runs.config import RunConfig

__all__ = ["write_tuned"]


def write_tuned(config: RunConfig, output: Path, dataset: str) -> Path:
    """Write the config with the best settings that the tunings in a directory found.

    Args:
        config: that was tuned.
        output: directory of the tunings, a folder for each model.
        dataset: fingerprint of the dataset; tunings on another one are left out.

    Returns:
        The file.
    """
    lines = ["Written by `interactrank tune`: the config with the best settings of each model below,"]
    lines += ["judged on the validation period alone. Its other values are those of the config."]
    for report in _reports(output, config, dataset):
        changes = {
            place: value
            for key, value in report["best"]["settings"].items()
            for place, _ in find_places(RunConfig, key)[0]
        }
        config = config.with_settings(report["model"], changes)
        lines.append(_line(report))
    text = "".join(f"# {line}\n" for line in lines) + config.dump()
    return atomic_write_text(output / "tuned.yaml", text)


def _reports(output: Path, config: RunConfig, dataset: str) -> Iterator[Mapping[str, Any]]:
    for path in sorted(output.glob("*/trials.json")):
        report = json.loads(path.read_text())
        if report["data"]["dataset"] == dataset and report["model"] == path.parent.name:
            yield report


def _line(report: Mapping[str, Any]) -> str:
    best, given = report["best"], report["given"]
    judged = sum(trial["state"] != "same" for trial in report["trials"])
    before = "" if given is None else f"; {given['value']:.4f} with the settings of the config"
    return (
        f"{report['model']}: {report['metric']} {best['value']:.4f} of trial {best['trial']}, the best of "
        f"{judged}{before}"
    )
