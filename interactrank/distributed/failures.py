"""Messages for what gloo reports when another rank stopped or hangs.

torch raises a plain RuntimeError with gloo's text for both, so the texts are all there is to tell them by.
They are those of torch 2.13 and 2.14; an unknown text is left as it is. Upstream: an exception class of its
own exists for NCCL and stores only (``torch.distributed.DistBackendError``, ``DistStoreError``); no issue
about gloo found on 2026-11-27.
"""

from __future__ import annotations

import datetime
import os
import time

import torch.distributed as dist

from interactrank.core.errors import UserError

__all__ = ["explain_gloo_error", "silent_ranks"]

_STOPPED = ("closed by peer", "reset by peer", "Broken pipe")
_HANGS = ("Timed out waiting", "Application timeout")


def explain_gloo_error(error: RuntimeError, timeout_s: int) -> str | None:
    """Return what gloo's error says about another rank; None if the error is about something else."""
    if isinstance(error, UserError):
        return None
    text = str(error)
    if any(sign in text for sign in _STOPPED):
        return "another rank stopped; its own error says why"
    if not any(sign in text for sign in _HANGS):
        return None
    silent = silent_ranks()
    who = f"rank {', '.join(map(str, silent))}" if silent else "another rank"
    return (
        f"{who} did not respond within {timeout_s} s (hung or slow). Inspect it, for example with py-spy "
        "dump; raise training.timeout_s if a step may take that long"
    )


def silent_ranks(patience_s: float = 2.0) -> list[int]:
    """Return the ranks that do not call this at about the same time; none if the ranks' store is gone.

    Call it after a collective ran into its timeout, when ranks cannot talk to each other by collectives. It
    costs ``patience_s`` on the way out of a failed job, and saves looking at every rank to find the one
    that hangs.
    """
    try:
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=datetime.timedelta(seconds=5),
            wait_for_workers=False,
        )
        keys = [
            f"interactrank/late/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{rank}"
            for rank in range(dist.get_world_size())
        ]
        store.set(keys[dist.get_rank()], "1")
        time.sleep(patience_s)
        return [rank for rank, key in enumerate(keys) if not store.check([key])]
    except (KeyError, RuntimeError):
        return []
