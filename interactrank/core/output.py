"""Results on the terminal: a closed pipe, a full disk or an ASCII terminal end no job.

A table on the terminal shows files that are written already, so that a stream that cannot take it does not
fail the job. ``interactrank evaluate ... | head`` prints what ``head`` reads, and ends with exit code 0.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from contextlib import suppress
from typing import IO, Any

from rich.console import Console

__all__ = ["ResultConsole", "tolerate_any_text"]

_PLAIN = {
    "\u00b7": "|",  # middle dot
    "\u2013": "-",  # dashes and the minus sign
    "\u2014": "-",
    "\u2212": "-",
    "\u2026": "...",
    "\u00d7": "x",
    "\u2265": ">=",
    "\u2264": "<=",
    "\u00b1": "+/-",
    "\u2192": "->",
    "\u2018": "'",  # quotation marks
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
}
_HANDLER = "interactrank.plain"
_LOST = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS}


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding does not have by what a typewriter had."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in text), error.end


codecs.register_error(_HANDLER, _plain)


def tolerate_any_text(stream: IO[str]) -> None:
    """Let a text stream write letters that its encoding lacks, as ``?`` or a plain form of them.

    Args:
        stream: such as ``sys.stdout``; a stream without an encoding is left as it is.

    Example::

        >>> stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        >>> tolerate_any_text(stream)
        >>> print("36 requests · Zoë ≥ 1", file=stream, flush=True)
        >>> stream.buffer.getvalue()
        b'36 requests | Zo? >= 1\\n'
    """
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors=_HANDLER)


class ResultConsole(Console):
    """A rich console whose stream may be closed, full or unable to show a letter.

    Args:
        options: those of :class:`rich.console.Console`.

    Example::

        >>> ResultConsole(file=io.StringIO()).print("hit@3")
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        tolerate_any_text(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as a rich console does; what a broken stream does not take is dropped."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            if error.errno not in _LOST:
                raise
            self._give_up(error)

    def on_broken_pipe(self) -> None:
        """Drop what a closed pipe does not take, where rich would end the process."""
        self._give_up(BrokenPipeError(errno.EPIPE, "Broken pipe"))

    def _give_up(self, error: OSError) -> None:
        """Send the rest to the null device, also what the interpreter flushes when it exits."""
        self.quiet = True
        if self.file not in (sys.stdout, sys.stderr):
            return
        with suppress(OSError, ValueError, io.UnsupportedOperation):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.file.fileno())
            os.close(null)
        if error.errno != errno.EPIPE and self.file is sys.stdout:
            with suppress(OSError):
                sys.stderr.write(f"cannot print the results ({error.strerror}); they are in their files\n")
