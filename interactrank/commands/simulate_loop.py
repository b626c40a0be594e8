"""``interactrank simulate-loop``: an online experiment on simulated users."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from interactrank.commands.arguments import OVERRIDES, add_output, count, read_config

ABOUT = "Run an online experiment on simulated users: serve, log, append, train on, export, day after day."
EXAMPLE = "interactrank simulate-loop --output runs/loop"

SIZE = (
    *("simulate.requests=36000", "simulate.days=100", "simulate.session_requests=2"),
    "training.tensorboard=false",
)
TINY = (
    *("simulate.requests=1500", "simulate.days=10", "simulate.users=100", "simulate.items=200"),
    *("simulate.intents=12", "simulate.topics=4", "training.epochs=2", "training.tensorboard=false"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE", help=OVERRIDES)
    add_output(parser, "folder of the report, the log, the models and their exports")
    parser.add_argument("--days", type=count, help="days that are served (default 10, with --tiny 3)")
    parser.add_argument("--shown", type=count, default=10, help="places of a list (default 10)")
    parser.add_argument(
        "--window", type=count, default=14, help="days that a nightly training learns from (default 14)"
    )
    parser.add_argument(
        "--continued",
        action="append",
        default=["training.epochs=1"],
        metavar="SECTION.KEY=VALUE",
        help="setting of the nightly trainings, by default training.epochs=1; repeat it for more",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="address of interactrank serve, to which searches go; without it exports are opened here",
    )
    parser.add_argument("--tiny", action="store_true", help="a small world, to see that it runs")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from importlib import resources  # half as long as the rest of --help

    options.overrides = [*(TINY if options.tiny else SIZE), *options.overrides]
    with resources.as_file(resources.files("interactrank") / "configs" / "demo.yaml") as path:
        options.config = path
        config = read_config(options)
    from interactrank.core.output import ResultConsole
    from interactrank.experiments.loop.loop import simulate_loop
    from interactrank.experiments.loop.report import markdown

    start = time.monotonic()
    report = simulate_loop(
        config,
        Path(options.output),
        days=options.days or (3 if options.tiny else 10),
        shown=options.shown,
        window=options.window,
        continued=options.continued,
        server=options.server,
    )
    ResultConsole().print(markdown(report), markup=False, highlight=False)
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    print(f"it took {minutes} min {seconds} s; the report is in {options.output}", file=sys.stderr)
    return 0
