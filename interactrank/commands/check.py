"""``interactrank check``: what a config makes of a log, before anything is built."""

from __future__ import annotations

import argparse

from interactrank.commands.arguments import add_config, log_place, read_config

ABOUT = "Report what a config makes of a log: rows, requests, what is left out, what looks like a leak."
EXAMPLE = "interactrank check mine.yaml --data path/to/log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=log_place, required=True, help="folder or URI of the raw log")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.runs.first_minute import check_log

    print(check_log(config, options.data, as_json=options.json))
    return 0
