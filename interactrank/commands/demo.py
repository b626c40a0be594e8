"""``interactrank demo``: the packaged demo, on a simulated log."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from interactrank.commands.arguments import OVERRIDES, add_output, read_config

ABOUT = "Run the packaged demo: simulate a log, prepare it, train, evaluate, report."
EXAMPLE = "interactrank demo --output runs/demo training.steps=200"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE", help=OVERRIDES)
    add_output(parser, "directory of the run (default runs/demo)", required=False)
    parser.set_defaults(output=Path("runs/demo"))


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from importlib import resources  # half as long as the rest of --help

    with resources.as_file(resources.files("interactrank") / "configs" / "demo.yaml") as path:
        options.config = path
        config = read_config(options)
    from interactrank.runs.workflow import run_models

    print("the demo: about 10 minutes on 2 cores", file=sys.stderr, flush=True)
    start = time.monotonic()
    run_models(config, None, options.output).show()
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    print(f"the demo took {minutes} min {seconds} s; its report is in {options.output}", file=sys.stderr)
    return 0
