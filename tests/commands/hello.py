"""A verb of another package, for the tests."""

from __future__ import annotations

import argparse

ABOUT = "Say hello."
EXAMPLE = "interactrank hello you"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")


def run(options: argparse.Namespace) -> int:
    print(f"hello {options.name}")
    return 7
