"""Sentences for what gloo reports when another rank stopped or hangs."""

from __future__ import annotations

import datetime
import os
import time

import torch.distributed as dist

from interactrank.core.errors import UserError

__all__ = ["broken", "silent_ranks"]


def broken(error: RuntimeError, timeout_s: int) -> str | None:
    """What gloo's error says about another rank; None where the error is about something else."""
    if isinstance(error, UserError):
        return None
    text = str(error)
    if any(sign in text for sign in ("closed by peer", "reset by peer", "Broken pipe")):
        return "another rank stopped; its own error says why"
    if "Timed out waiting" not in text and "Application timeout" not in text:
        return None
    silent = silent_ranks()
    who = f"rank {', '.join(map(str, silent))}" if silent else "another rank"
    return (
        f"{who} gave no answer for {timeout_s} s: it hangs, or is that much slower. Look at what it does "
        "(for instance with py-spy dump), and raise training.timeout_s if a step may rightly take that long"
    )


def silent_ranks(patience_s: float = 2.0) -> list[int]:
    """Ranks that do not call this at about the same time; none where the ranks' meeting place is gone, too.

    Called after a collective ran into its timeout, when ranks cannot talk to each other by collectives.
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
