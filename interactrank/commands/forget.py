"""``interactrank forget``: a user leaves a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "Remove a user from a dataset: events, sequences, counts, and values that nobody else has had."
EXAMPLE = "interactrank forget prepared --user 4711"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("dataset", type=Path, help="dataset that was prepared with prepare.keep_log=true")
    parser.add_argument("--user", required=True, help="id of the user, as text")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.data.prepare.forget import forget_user

    forget_user(options.dataset, options.user)
    return 0
