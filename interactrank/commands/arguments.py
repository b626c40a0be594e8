"""Arguments and argument types that several verbs share; nothing here imports torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interactrank.runs.config import RunConfig

__all__ = [
    "add_config",
    "add_output",
    "count",
    "log_place",
    "named_number",
    "named_rows",
    "positive",
    "read_config",
]

OVERRIDES = "settings of the config to change, such as training.steps=200 loader.seed=1"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the config and its overrides, which may stand anywhere behind it."""
    parser.add_argument("config", type=Path, help="YAML file of the run")
    parser.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE", help=OVERRIDES)


def add_output(parser: argparse.ArgumentParser, help: str, *, required: bool = True) -> None:
    """Add ``--output``."""
    parser.add_argument("--output", type=Path, required=required, help=help)


def read_config(options: argparse.Namespace) -> RunConfig:
    """Check the installed versions, then read the config of :func:`add_config`.

    Raises:
        IncompatibleVersionsError: torch, torchrec and FBGEMM do not go together.
        ConfigError: the config cannot be used.
    """
    from interactrank.core.versions import check
    from interactrank.runs.config import load_config

    check()
    return load_config(options.config, options.overrides)


def positive(text: str) -> float:
    """Return a number above 0.

    Example::

        >>> positive("1e9")
        1000000000.0
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e15:
        raise argparse.ArgumentTypeError(f"'{text}': write a number above 0")
    return value


def count(text: str) -> int:
    """Return a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}': write a whole number above 0")
    return value


def log_place(text: str) -> str | Path:
    """Return where a log is: a path, or a URI such as ``s3://bucket/log``, as it is written.

    Example::

        >>> log_place("s3://bucket/log"), log_place("logs//today").as_posix()
        ('s3://bucket/log', 'logs/today')
    """
    return text if "://" in text else Path(text)


def named_number(text: str) -> tuple[str, float]:
    """Return the parts of ``NAME=NUMBER``.

    Example::

        >>> named_number("title=5.5")
        ('title', 5.5)
    """
    name, _, number = text.partition("=")
    try:
        value = positive(number)
    except argparse.ArgumentTypeError:
        name, value = "", 0.0
    if not name:
        raise argparse.ArgumentTypeError(f"'{text}': write a name and a number above 0, such as item=1e9")
    return name, value


def named_rows(text: str) -> tuple[str, int]:
    """Return the parts of ``TABLE=ROWS``.

    Example::

        >>> named_rows("item=1e9")
        ('item', 1000000000)
    """
    name, rows = named_number(text)
    if rows != int(rows):
        raise argparse.ArgumentTypeError(f"'{text}': rows must be a whole number, such as item=1e9")
    return name, int(rows)
