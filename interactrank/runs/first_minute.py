"""The first minute on a log of one's own: a config written for it, and what a config will make of it."""

from __future__ import annotations

import json
from pathlib import Path

from interactrank.core.files import atomic_write_text
from interactrank.core.settings import ConfigError
from interactrank.data.guess.config import guess_config
from interactrank.data.guess.log_report import report_log
from interactrank.runs.config import RunConfig, load_config

__all__ = ["check_log", "write_config"]


def write_config(log: str | Path, output: Path) -> str:
    """Write a config for a log and return what to do next.

    Raises:
        ConfigError: the file is there already.
        DatasetError: the log is missing or unreadable, or nothing can be guessed.
    """
    if output.exists():
        raise ConfigError(f"'{output}' exists; name another file with --output, or remove it")
    atomic_write_text(output, guess_config(log))
    load_config(output)  # a guess that is not a config would be a mistake of this library
    unsure = output.read_text().count("unsure:")
    return (
        f"wrote '{output}', with {unsure} unsure lines; read it, then:\n"
        f"  interactrank check {output} --data {log}\n  interactrank run {output} --data {log}"
    )


def check_log(config: RunConfig, log: str | Path, *, as_json: bool = False) -> str:
    """Return what a config makes of a log, as a table or as JSON.

    Raises:
        DatasetError: the log cannot be prepared.
    """
    report = report_log(log, config.search, config.prepare)
    if as_json:
        return json.dumps(report.to_json(), indent=2, ensure_ascii=False)
    lines = list(report.lines())
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)
