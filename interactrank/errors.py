"""The base of every error that is the user's to mend; the command line prints it as one line."""

from __future__ import annotations

__all__ = ["USER_ERRORS", "UserError"]


class UserError(Exception):
    """A config, a log, a checkpoint or an installation that cannot be used; the message says what to do.

    Classes that derive from it also derive from the built-in error that fits, such as ValueError.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = 1


USER_ERRORS: tuple[type[Exception], ...] = (
    UserError,
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""What needs no traceback: our own errors and those of the file system about a path."""
