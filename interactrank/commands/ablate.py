"""``interactrank ablate``: what each part of a config's model is worth."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, count, log_place, read_config

ABOUT = (
    "Train models from a plain two-tower to the config's own, with several seeds; write and print what each"
    " part is worth, and the paper's findings on this log."
)
EXAMPLE = "interactrank ablate examples/configs/bestbuy.yaml --data path/to/bestbuy --seeds 3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=log_place, help="raw log; the config's section simulate when left out")
    add_output(parser, "directory; runs/ablate_<name of the config> when left out", required=False)
    parser.add_argument("--seeds", type=count, default=3, help="trainings of each model (default 3)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a model to keep; repeat it for more"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.experiments.ablation import ablate, check_complete
    from interactrank.experiments.page import show

    output = options.output or Path("runs") / f"ablate_{options.config.stem}"
    report = ablate(config, options.data, output, seeds=options.seeds, only=options.only)
    show(report)
    check_complete(report, output)
    return 0
