"""The base of every error that is the user's to mend; the command line prints it as one line."""

from __future__ import annotations

import errno

__all__ = ["USER_ERRORS", "TrainingError", "UserError", "cannot_write"]


class UserError(Exception):
    """A config, a log, a checkpoint or an installation that cannot be used; the message says what to do.

    Classes that derive from it also derive from the built-in error that fits, such as ValueError.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = 1


class TrainingError(UserError, ValueError):
    """Raised when model, data, settings and ranks do not fit together."""


USER_ERRORS: tuple[type[Exception], ...] = (
    UserError,
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""What needs no traceback: our own errors and those of the file system about a path."""

_CANNOT_WRITE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EROFS: "name a folder that can be written",
    errno.EFBIG: "name a folder of a file system without that limit",
}


def cannot_write(error: BaseException) -> str | None:
    """What to do where a disk is full or cannot be written; None for any other error.

    Example::

        >>> cannot_write(OSError(errno.ENOSPC, "No space left on device", "runs/a"))
        "[Errno 28] No space left on device: 'runs/a'; free some space and start again"
    """
    if not isinstance(error, OSError) or error.errno not in _CANNOT_WRITE:
        return None
    return f"{error}; {_CANNOT_WRITE[error.errno]} and start again"
