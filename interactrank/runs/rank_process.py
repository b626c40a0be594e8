"""How a process that torchrun started tells its error, and how it ends."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from contextlib import suppress

from interactrank.core.files import atomic_write_text

__all__ = ["ERROR_FILE", "QUIET", "leave", "record_error"]

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
QUIET = "INTERACTRANK_ERROR_IS_SHOWN"
"""Set by our launcher, which prints the error of the first rank that failed, last and once."""


def record_error(error: BaseException, text: str | None) -> bool:
    """Write an error to the file that torchrun's summary is made from, if torchrun started this process.

    torchrun ends the other ranks as soon as one died, also while they write this file, and fails itself on a
    part of JSON; so it is written whole or not at all, which torch's own ``@record`` does not do.

    Args:
        error: that ends this process.
        text: what to tell the user; None for a bug, which keeps its traceback.

    Returns:
        Whether the process that started this one shows ``text``, so that this one need not.
    """
    target = os.environ.get(ERROR_FILE)
    if target is None:
        return False
    extra = {"timestamp": str(int(time.time()))}
    if text is None:
        text = f"{type(error).__name__}: {error}"
        extra["py_callstack"] = "".join(traceback.format_exception(error))
    with suppress(OSError):  # the error itself matters more than torchrun's summary
        atomic_write_text(target, json.dumps({"message": {"message": text, "extraInfo": extra}}))
        return QUIET in os.environ
    return False


def leave(code: int) -> None:
    """End the process; end that of a rank at once, without taking Python down piece by piece.

    gloo's threads may still hold tensors of the last exchange, and abort the process when they free them in
    an interpreter that is being taken down (https://github.com/pytorch/pytorch/pull/179291, torch 2.13).
    """
    if "RANK" not in os.environ:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
