"""``interactrank tune``: better settings for a model, found on the validation period."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, count, log_place, read_config

ABOUT = (
    "Try settings of a model within declared ranges, judged on the validation period alone; print what"
    " mattered and write the config with the best."
)
EXAMPLE = "interactrank tune examples/configs/lastfm.yaml --data path/to/lastfm --model two_tower --trials 40"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=log_place, help="raw log; the config's section simulate when left out")
    parser.add_argument(
        "--model",
        default="interactrank",
        help="a model that is trained, one of the config's variants, or a baseline that has settings",
    )
    parser.add_argument(
        "--trials", type=count, default=30, help="settings to try, over all starts (default 30)"
    )
    add_output(
        parser,
        "directory, the same for all models of a config; runs/tune_<name of the config> when left out",
        required=False,
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.experiments.tuning.page import show
    from interactrank.experiments.tuning.tune import tune

    output = options.output or Path("runs") / f"tune_{options.config.stem}"
    show(tune(config, options.data, output, model=options.model, trials=options.trials))
    return 0
