"""``interactrank compact``: the files of many days become one."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "Make one file of the events of all days that were appended to a dataset."
EXAMPLE = "interactrank compact prepared"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("dataset", type=Path, help="dataset that was prepared with prepare.keep_log=true")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.data.prepare.forget import compact_dataset

    compact_dataset(options.dataset)
    return 0
