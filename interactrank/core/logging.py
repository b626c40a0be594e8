"""Log records of the package: silent in a library, one console handler in the command line.

Library code logs with ``logging.getLogger(__name__)``. Nothing is printed unless a program configures
logging: its own way, or with :func:`configure_command_line` as the command line does. A program silences the
package with ``logging.getLogger("interactrank").setLevel(logging.ERROR)``.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache

from rich.console import Console
from rich.text import Text

from interactrank.core.known_warnings import silence_known_warnings

__all__ = ["PACKAGE", "ConsoleHandler", "RankZeroFilter", "configure_command_line", "current_rank", "stderr"]

PACKAGE = "interactrank"
"""Name of the logger above all loggers of the package."""

_STYLES = {
    logging.DEBUG: "dim",
    logging.WARNING: "yellow",
    logging.ERROR: "red",
    logging.CRITICAL: "bold red",
}


class _Console(Console):
    """A console that a closed pipe turns quiet; rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


@cache
def stderr() -> Console:
    """Return the console of log records and progress bars, so that a record does not tear a bar apart."""
    return _Console(stderr=True, highlight=False, markup=False, emoji=False)


def current_rank() -> int:
    """Return this process's rank: of torch.distributed if it is initialised, else ``RANK``, else 0."""
    distributed = sys.modules.get("torch.distributed")  # not imported for this
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() else 0


class RankZeroFilter(logging.Filter):
    """A filter that drops records below ERROR on all ranks but 0.

    Example::

        >>> import unittest.mock
        >>> info, error = (logging.LogRecord("a", level, "", 0, "", None, None) for level in (20, 40))
        >>> with unittest.mock.patch.dict(os.environ, RANK="1"):
        ...     RankZeroFilter().filter(info), RankZeroFilter().filter(error)
        (False, True)
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is shown."""
        return record.levelno >= logging.ERROR or current_rank() == 0


class ConsoleHandler(logging.Handler):
    """A handler that prints a record as one unwrapped line of :func:`stderr`, coloured on a terminal.

    Records from WARNING up begin with their level. A character that the terminal's encoding lacks is escaped.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; a failure is left to :meth:`logging.Handler.handleError`."""
        try:
            text = self.format(record)
            if record.levelno >= logging.WARNING:
                text = f"{record.levelname.lower()}: {text}"
            console = stderr()
            encoding = console.encoding
            text = text.encode(encoding, errors="backslashreplace").decode(encoding)
            console.print(Text(text, style=_STYLES.get(record.levelno, "")), soft_wrap=True)
        except Exception:
            self.handleError(record)


def configure_command_line(verbosity: int = 0) -> None:
    """Print the package's records on stderr and silence known third-party noise; call it once a process.

    A second call changes the verbosity alone.

    Args:
        verbosity: 0 prints from INFO up, 1 and above from DEBUG with the logger's name, below 0 from WARNING.
    """
    logger = logging.getLogger(PACKAGE)
    handler = next((h for h in logger.handlers if isinstance(h, ConsoleHandler)), None)
    if handler is None:
        handler = ConsoleHandler()
        handler.addFilter(RankZeroFilter())
        logger.addHandler(handler)
        logger.propagate = False  # a library that calls logging.basicConfig would print each record twice
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbosity > 0 else "%(message)s"))
    logger.setLevel(logging.DEBUG if verbosity > 0 else logging.WARNING if verbosity < 0 else logging.INFO)
    silence_known_warnings()
