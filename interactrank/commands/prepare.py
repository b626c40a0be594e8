"""``interactrank prepare``: from a raw log to a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, read_config

ABOUT = "Turn a raw log into a dataset: request-grouped Parquet with features as of each request."
EXAMPLE = "interactrank prepare examples/configs/bestbuy.yaml --data path/to/bestbuy --output prepared"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=Path, required=True, help="directory with the events and items")
    add_output(parser, "directory of the dataset")
    parser.add_argument("--strict", action="store_true", help="a malformed row is an error")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.runs.datasets import prepare_dataset

    prepare_dataset(config, options.data, options.output, strict=options.strict)
    return 0
