"""``interactrank roll``: train through each day, test on the next, from nothing and going on."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, count, read_config

ABOUT = "Train through each of the last days of a log and test on the next: from nothing, and going on."
EXAMPLE = (
    "interactrank roll examples/configs/bestbuy.yaml --data path/to/bestbuy --days 10 --output runs/roll"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=Path, required=True, help="raw log")
    parser.add_argument(
        "--days", type=count, default=7, help="days to test on, the last of the log (default 7)"
    )
    add_output(parser, "directory of the report, the dataset and the models")
    parser.add_argument("--model", default="interactrank", help="model of the config to train")
    parser.add_argument(
        "--continued",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="setting of the trainings that go on, such as training.epochs=2; repeat it for more",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.core.output import ResultConsole
    from interactrank.experiments.rolling import markdown, roll

    report = roll(
        config,
        options.data,
        options.output,
        days=options.days,
        model=options.model,
        continued=options.continued,
    )
    ResultConsole().print(markdown(report), markup=False, highlight=False)
    return 0
