"""A store of its own for each start of the ranks by torchrun.

This works around torchrun. It is here and not in ``sharding/torchrec_patches``, as the process group needs
it.

Symptom: ranks that torchrun restarts find the addresses of their killed predecessors, and fail or wait for
ever.

Cause: torchrun keeps one store for all starts and shares it with the ranks
(``TORCHELASTIC_USE_AGENT_STORE``). Keys of the process group carry no number of the start.

Upstream: https://github.com/pytorch/pytorch/issues/135712 (closed; fixes for several nodes are open, such as
https://github.com/pytorch/pytorch/pull/167302).

Versions: seen in torch 2.13.0.

Remove when: a second process group in the same store finds no keys of the first one
(``tests/distributed/test_world.py``).
"""

from __future__ import annotations

import datetime
import os
from typing import Any

import torch.distributed as dist

from interactrank.distributed.errors import ProcessGroupError

__all__ = ["rendezvous_arguments"]


def rendezvous_arguments(timeout: datetime.timedelta) -> dict[str, Any]:
    """Return the store, rank and world size for ``init_process_group``; nothing if torch's own way is safe.

    Raises:
        ProcessGroupError: torchrun may restart the ranks of several nodes, which then could not meet.
    """
    environment = os.environ
    kept = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not kept or int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0)) == 0:
        return {}
    if int(environment.get("GROUP_WORLD_SIZE", 1)) > 1:  # nodes count their restarts each for itself
        raise ProcessGroupError(
            "torchrun may restart the ranks of several nodes (--max-restarts), but they would meet at the "
            "addresses of ranks that are gone: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's "
            "environment on every node (the component `train` does)"
        )
    store = dist.TCPStore(
        environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False, timeout=timeout
    )
    return {
        "store": dist.PrefixStore(f"start_{environment['TORCHELASTIC_RESTART_COUNT']}", store),
        "rank": int(environment["RANK"]),
        "world_size": int(environment["WORLD_SIZE"]),
    }
