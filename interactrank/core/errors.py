"""The errors that a user can fix; the command line prints them without a traceback.

All of them derive from :class:`UserError` and from the built-in error that fits::

    UserError
        AblationError               no model of an ablation could be trained
        ArtifactError               an export cannot be written or opened
        CheckpointError             a checkpoint is missing, damaged or of another model
        ConfigError                 settings are wrong; lists every mistake
        CrossFeatureError           a cross feature computes what it must not
        DamagedIndexError           an index of engagement counts was changed or cut off
        DatasetError                a log cannot be prepared, or a prepared dataset cannot be read
            IdRangeError            an id of a batch is outside of its table
        EventLogError               events could not be kept, or their log cannot be read
        IncompatibleVersionsError   torch, torchrec and FBGEMM do not go together
        ItemEmbeddingsError         a directory is not a complete export of item embeddings
        LaunchError                 the ranks of a job could not be started, or one of them failed
        LogError                    a request log cannot be verified
        ManifestError               a manifest is missing, unreadable or changed
        MissingExtraError           an optional dependency is not installed
        NonFiniteLossError          the loss became NaN or infinite
        PreemptedError              SIGTERM stopped a training after a checkpoint; start it again
        ProcessGroupError           the ranks of a job cannot form a process group as they were started
        RankError                   another rank failed; quotes its error
        RegistryError               a metric, baseline or model of that name is unknown or taken
        RequestError                a request to the pre-ranker cannot be ranked
        RunDirectoryError           a directory does not hold the model that is asked for
        ServerError                 a service cannot start
        ServiceError                a service does not answer as an experiment needs it
        ShardingError               tables, settings and ranks do not go together
            PlanError               the embedding tables do not fit the cluster
        StoppedError                a signal stopped the ranks of a job; start it again
        TrainingError               model, data, settings and ranks do not fit together
        TuningError                 no trial of a tuning could be measured
        WeightsError                a file of weights cannot be used for this model
"""

from __future__ import annotations

import errno

__all__ = ["USER_ERRORS", "TrainingError", "UserError", "cannot_write"]


class UserError(Exception):
    """The base of all errors that a user can fix; the message says what is wrong and what to do.

    Attributes:
        exit_code: exit code of the command line.
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
"""Errors that need no traceback: our own and those of the file system about a path."""

_CANNOT_WRITE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EROFS: "name a directory that can be written",
    errno.EFBIG: "name a directory of a file system without that limit",
}


def cannot_write(error: BaseException) -> str | None:
    """Return what to do if a disk is full or cannot be written; None for any other error.

    Example::

        >>> cannot_write(OSError(errno.ENOSPC, "No space left on device", "runs/a"))
        "[Errno 28] No space left on device: 'runs/a'; free some space and start again"
    """
    if not isinstance(error, OSError) or error.errno not in _CANNOT_WRITE:
        return None
    return f"{error}; {_CANNOT_WRITE[error.errno]} and start again"
