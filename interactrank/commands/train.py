"""``interactrank train``: one model, on the ranks that torchx or torchrun started or on ranks of its own."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, count, read_config

ABOUT = "Train a model on a dataset: on the ranks that torchx or torchrun started, or on --ranks of its own."
EXAMPLE = """interactrank train examples/configs/bestbuy.yaml --data prepared --output runs/model --ranks 2
  torchrun --standalone --nproc-per-node 2 -m interactrank.cli train examples/configs/bestbuy.yaml\
 --data prepared --output runs/model"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=Path, required=True, help="directory of the dataset")
    add_output(parser, "run directory of the model")
    parser.add_argument(
        "--model", default="interactrank", help="interactrank, two_tower or one of the config's variants"
    )
    parser.add_argument("--plan", type=Path, help="plan.json of `interactrank plan` for these ranks")
    parser.add_argument(
        "--from",
        dest="start_from",
        type=Path,
        metavar="DIRECTORY",
        help="run directory of a trained model to go on from, of a dataset that this one has grown from",
    )
    parser.add_argument(
        "--ranks", type=count, help="start this many ranks on this machine; torchrun's are used when left out"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    if options.ranks is None or "RANK" in os.environ:
        from interactrank.runs.training import train_model

        train_model(
            config,
            options.data,
            options.output,
            model=options.model,
            plan=options.plan,
            start_from=options.start_from,
        )
        return 0
    from interactrank.runs.local import launch_training

    launch_training(
        config=options.config,
        data=options.data,
        output=options.output,
        model=options.model,
        plan=options.plan,
        start_from=options.start_from,
        ranks=options.ranks,
        overrides=tuple(options.overrides),
    )
    return 0
