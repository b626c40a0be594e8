"""``interactrank verify-serving``: the features that were served against those that prepare computes."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "Compare the features of a request log with those of the dataset that it was appended to."
EXAMPLE = "interactrank verify-serving served --data prepared"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("log", type=Path, help="folder of the request log, of interactrank serve --log")
    parser.add_argument("--data", type=Path, required=True, help="dataset that the log was appended to")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code: 1 if a number differs."""
    from interactrank.core.versions import check

    check()
    from interactrank.data.prepared.dataset import PreparedDataset
    from interactrank.server.verify_log import verify_log

    found = verify_log(options.log, PreparedDataset(options.data))
    print(
        f"{found.numbers:,} numbers of {found.rows:,} items in {found.requests:,} requests: "
        f"{found.differences:,} differ"
    )
    for name, number in sorted(found.different.items()):
        print(f"  {name}: {number:,}")
    for text in found.examples:
        print(f"  {text}")
    print(
        f"not compared: {found.given:,} requests with data of their own, {found.absent:,} not in the dataset"
    )
    return 1 if found.differences else 0
