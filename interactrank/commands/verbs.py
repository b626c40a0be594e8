"""The verbs of the command line: the modules of this package, and entry points of other packages."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Protocol, cast

from interactrank import commands

__all__ = ["GROUP", "Verb", "verbs"]

GROUP = "interactrank.commands"
"""Entry point group: each entry names a verb, and the module that is one."""


class Verb(Protocol):
    """A module that is a verb; it imports torch in ``run`` alone, so that ``--help`` stays fast.

    Attributes:
        ABOUT: a sentence for the help.
        EXAMPLE: command lines.
    """

    ABOUT: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the verb."""

    def run(self, options: argparse.Namespace) -> int:
        """Run the verb; return the exit code."""


def verbs() -> Iterator[tuple[str, Verb]]:
    """Yield name and module of each verb; leave out one of another package that cannot be loaded."""
    for module in pkgutil.iter_modules(commands.__path__):
        verb = importlib.import_module(f"{commands.__name__}.{module.name}")
        if hasattr(verb, "add_arguments"):
            yield module.name.replace("_", "-"), cast(Verb, verb)
    for entry in metadata.entry_points(group=GROUP):
        try:
            yield entry.name, cast(Verb, entry.load())
        except Exception as error:  # code of others can raise anything
            print(f"interactrank: no verb {entry.name}, {entry.value} fails: {error}", file=sys.stderr)
