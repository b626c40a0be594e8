"""``interactrank evaluate``: trained models and baselines on the same requests."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, read_config

ABOUT = "Rank the test requests with trained models and baselines; write the report, print the table."
EXAMPLE = (
    "interactrank evaluate examples/configs/bestbuy.yaml --data prepared --output report"
    " --model-dir runs/model"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=Path, required=True, help="directory of the dataset")
    add_output(parser, "directory of the report")
    parser.add_argument(
        "--model-dir",
        type=Path,
        action="append",
        default=[],
        metavar="DIRECTORY",
        help="run directory of a trained model; repeat it for more",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.runs.evaluation import evaluate_models

    evaluate_models(config, options.data, options.model_dir, options.output).show()
    return 0
