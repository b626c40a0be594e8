"""``interactrank init``: a config for a log of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import log_place

ABOUT = "Guess what the columns of a log mean, and write a config that runs, with what is unsure in comments."
EXAMPLE = "interactrank init path/to/log --output mine.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "path", type=log_place, help="folder or URI with the events and items, and users if any"
    )
    parser.add_argument("--output", type=Path, default=Path("config.yaml"), help="YAML file to write")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.runs.first_minute import write_config

    print(write_config(options.path, options.output))
    return 0
