"""``interactrank prepare``: from a raw log to a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, log_place, read_config

ABOUT = "Turn a raw log into a dataset: request-grouped Parquet with features as of each request."
EXAMPLE = "interactrank prepare examples/configs/bestbuy.yaml --data path/to/bestbuy --output prepared"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=log_place, required=True, help="directory with the events and items")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", type=Path, help="directory of the dataset")
    target.add_argument(
        "--append",
        type=Path,
        metavar="DATASET",
        help="dataset, prepared with prepare.keep_log=true, that --data is a further day of",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "spark"),
        default="local",
        help="what does the work: this machine, or the executors of Spark (extra 'spark')",
    )
    parser.add_argument(
        "--master", metavar="URL", help="of Spark, such as local[4], yarn or spark://host:7077"
    )
    parser.add_argument("--strict", action="store_true", help="a malformed row is an error")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.core.settings import ConfigError

    config = read_config(options)
    if (options.engine == "spark") != bool(options.master):
        raise ConfigError("--engine spark and --master URL go together; give both or none")
    if options.append and options.master:
        raise ConfigError("--append works on one machine: leave --engine spark out")
    from interactrank.runs.datasets import append_to_dataset, prepare_dataset

    if options.append:
        append_to_dataset(config, options.data, options.append, strict=options.strict)
        return 0
    prepare_dataset(config, options.data, options.output, strict=options.strict, master=options.master)
    return 0
