"""``interactrank simulate``: a synthetic search log."""

from __future__ import annotations

import argparse

from interactrank.commands.arguments import add_config, add_output, read_config

ABOUT = "Generate a synthetic search log with known ground truth (section simulate)."
EXAMPLE = "interactrank simulate mine.yaml --output log simulate.requests=100000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    add_output(parser, "directory of the log")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.runs.datasets import simulate_log

    simulate_log(config, options.output)
    return 0
