"""Where a model's ID tables are made: whole on every rank, or only the parts that a rank will hold."""

from __future__ import annotations

import torch

from interactrank.distributed.collectives import say
from interactrank.distributed.world import World
from interactrank.sharding.planner.cluster import show_bytes
from interactrank.sharding.planner.plan import cluster_of
from interactrank.sharding.settings import ShardingSettings

__all__ = ["table_device"]

SHARE = 0.25  # of a rank's memory, beyond which tables are not made whole


def table_device(settings: ShardingSettings, size: int, world: World) -> torch.device | None:
    """The device to build the tables on: ``meta`` if each rank is to make its own parts, None for the host.

    Args:
        settings: ``first_weights`` is read.
        size: bytes of all tables, as :func:`table_bytes` counts them.
        world: the ranks.
    """
    how = settings.first_weights
    if how == "auto":
        how = "parts" if size > SHARE * cluster_of(world).ddr else "whole"
        if how == "parts":
            say(
                f"tables of {show_bytes(size)}: each rank makes its own parts, so that the first "
                "weights depend on the number of ranks and the plan (training.first_weights)"
            )
    return torch.device("meta") if how == "parts" else None
