"""``interactrank run``: from a log to the table of results."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, log_place, read_config

ABOUT = "Everything: prepare the log (or simulate one), train, evaluate, report."
EXAMPLE = """interactrank run examples/configs/bestbuy.yaml --data path/to/bestbuy
  interactrank run mine.yaml --data path/to/log --output runs/a training.steps=200"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=log_place, help="raw log; the config's section simulate when left out")
    add_output(parser, "directory of the run; runs/<name of the config> when left out", required=False)


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.runs.workflow import run_models

    run_models(config, options.data, options.output or Path("runs") / options.config.stem).show()
    return 0
