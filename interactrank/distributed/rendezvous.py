"""Where the ranks that torchrun started exchange their addresses."""

from __future__ import annotations

import datetime
import os
from typing import Any

import torch.distributed as dist

from interactrank.core.errors import TrainingError

__all__ = ["rendezvous_arguments"]


def rendezvous_arguments(timeout: datetime.timedelta) -> dict[str, Any]:
    """Where ranks exchange their addresses: a fresh place for each start of the ranks by torchrun.

    In torch 2.13 torchrun keeps one store for all starts. Ranks that it restarts find the addresses of their
    killed predecessors in it, and fail or wait for ever.
    """
    environment = os.environ
    kept = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not kept or int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0)) == 0:
        return {}
    if int(environment.get("GROUP_WORLD_SIZE", 1)) > 1:  # machines count their restarts each for itself
        raise TrainingError(
            "torchrun may restart the ranks of several machines (--max-restarts), but they would meet at "
            "addresses of ranks that are gone: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's "
            "environment on every machine (the component `train` does)"
        )
    store = dist.TCPStore(
        environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False, timeout=timeout
    )
    return {
        "store": dist.PrefixStore(f"start_{environment['TORCHELASTIC_RESTART_COUNT']}", store),
        "rank": int(environment["RANK"]),
        "world_size": int(environment["WORLD_SIZE"]),
    }
